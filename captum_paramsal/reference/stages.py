"""Mean and standard deviation of the filters' saliency by stage of the network: what z-scores divide by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from captum_paramsal.functional.profile import varies
from captum_paramsal.stats import Moments
from captum_paramsal.summary import Summarized

_QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True, eq=False, repr=False)
class StageStatistics(Summarized):
    """S stages of a network, in the order that they were given in.

    Each filter has a mean and a standard deviation of its saliency, the mean absolute gradient of its weights, over the
    reference set. Dead filters are left out of the quartiles.

    Attributes:
        stages: Their names.
        filters: How many filters each has.
        dead: How many of these never varied.
        mean: Lower quartile, median and upper quartile over the filters of their means, ``(S, 3)`` float64; NaN for a
            stage of dead filters.
        std: The same of their standard deviations, ``(S, 3)``.
        variation: The same of standard deviation over mean, ``(S, 3)``.
    """

    stages: tuple[str, ...]
    filters: tuple[int, ...]
    dead: tuple[int, ...]
    mean: Tensor
    std: Tensor
    variation: Tensor

    @classmethod
    def of(cls, moments: Moments, columns: Mapping[str, Sequence[int]]) -> Self:
        """Statistics of the filters in some columns, by the name of their stage."""
        living = varies(moments.mean, moments.std)
        kept = {name: [column for column in chosen if living[column]] for name, chosen in columns.items()}
        parts = (moments.mean, moments.std, moments.std / moments.mean)
        quartiles = [torch.stack([_quartiles(values[chosen]) for chosen in kept.values()]) for values in parts]
        counts = tuple(map(len, columns.values()))
        return cls(
            tuple(columns),
            counts,
            tuple(count - len(chosen) for count, chosen in zip(counts, kept.values(), strict=True)),
            *quartiles,
        )

    def to_table(self) -> list[dict[str, Any]]:
        """One row per stage: filters, dead, and median and quartiles of mean, std and variation."""
        rows = []
        for place, name in enumerate(self.stages):
            row: dict[str, Any] = {"stage": name, "filters": self.filters[place], "dead": self.dead[place]}
            for measure in ("mean", "std", "variation"):
                low, median, high = getattr(self, measure)[place].tolist()
                row |= {measure: median, f"{measure} low": low, f"{measure} high": high}
            rows.append(row)
        return rows


def _quartiles(values: Tensor) -> Tensor:
    levels = torch.tensor(_QUARTILES, dtype=torch.float64)
    return values.quantile(levels) if len(values) else torch.full_like(levels, torch.nan)
