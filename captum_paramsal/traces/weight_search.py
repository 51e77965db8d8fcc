"""What a search for the weights of a trace found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from captum_paramsal.files.kinds import WEIGHT_SEARCH
from captum_paramsal.graph.settings import TraceWeights
from captum_paramsal.stats import BanditRun
from captum_paramsal.summary import Summarized


@dataclass(frozen=True, repr=False)
class WeightSearch(Summarized):
    """Weights that were learned, and how.

    Attributes:
        weights: The best value of each weight.
        history: Every trial, by weight.
    """

    weights: TraceWeights
    history: Mapping[str, BanditRun]

    def to_table(self) -> list[dict[str, Any]]:
        """One row per trial: weight, trial, arm, value, reward."""
        return [{"weight": name, **row} for name, run in self.history.items() for row in run.to_table()]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file; an existing one is replaced only when the new one is complete.

        Raises:
            TraceFileError: The file cannot be written.
        """
        history = {name: asdict(run) for name, run in self.history.items()}
        WEIGHT_SEARCH.save(path, {"weights": asdict(self.weights), "history": history})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> WeightSearch:
        """Read a search that was saved, whole or not at all.

        Raises:
            TraceFileError: No such file, damaged, or not a search of a version that is known.
        """
        return WEIGHT_SEARCH.load(path, cls._of)

    @classmethod
    def _of(cls, content: dict[str, Any]) -> WeightSearch:
        history = {
            name: BanditRun(**{key: tuple(values) for key, values in run.items()})
            for name, run in content["history"].items()
        }
        return cls(TraceWeights(**content["weights"]), history)
