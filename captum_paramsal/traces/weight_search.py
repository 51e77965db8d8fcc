"""What a search for the weights of a trace found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from captum_paramsal.errors import SourceError
from captum_paramsal.graph.settings import TraceWeights
from captum_paramsal.stats import BanditRun


@dataclass(frozen=True)
class WeightSearch:
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

    def save(self, path: str | Path) -> None:
        """Write the search as JSON."""
        content = {
            "weights": asdict(self.weights),
            "history": {name: asdict(run) for name, run in self.history.items()},
        }
        Path(path).write_text(json.dumps(content) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> WeightSearch:
        """Read a search that was saved.

        Raises:
            SourceError: No such file, or not a search.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            history = {
                name: BanditRun(**{key: tuple(values) for key, values in run.items()})
                for name, run in content["history"].items()
            }
            return cls(TraceWeights(**content["weights"]), history)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"Expected a search for weights at '{path}', got {type(error).__name__}: {error}."
            raise SourceError(message) from error
