"""Which mistakes the same filters stand out in: the nearest neighbours of each one that has a card."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import torch
from torch import Tensor

from captum_paramsal.repair import neighbors
from captum_paramsal.report.explain.data import NearMistake
from captum_paramsal.report.explain.mistakes import ScoredBatch

NEAREST = 5


class MistakeProfiles:
    """The profiles of some mistakes, kept until all are scored.

    Args:
        positions: Of the mistakes to keep.
        columns: Of the filters that have a score of their own.
        ceiling: Above it scores count as that, since a filter beyond the end of its tail would be all that counts.
    """

    def __init__(self, positions: Container[int], columns: Sequence[int], ceiling: float) -> None:
        self._positions, self._columns, self._ceiling = positions, columns, ceiling
        self._kept: dict[int, Tensor] = {}

    def add(self, batch: ScoredBatch) -> None:
        """Keep those of one more batch."""
        scores = batch.scores[:, self._columns].clamp(max=self._ceiling)
        for position, profile in zip(batch.positions, scores, strict=True):
            # Without a filter above its threshold a profile has no direction.
            if position in self._positions and bool(profile.any()):
                self._kept[position] = profile

    def nearest(self, k: int = NEAREST) -> Mapping[int, tuple[NearMistake, ...]]:
        """The k nearest of each, by position; of a single mistake none."""
        positions, k = list(self._kept), min(k, len(self._kept) - 1)
        if k < 1:
            return {}
        near = neighbors(torch.stack(list(self._kept.values())), range(len(positions)), k)
        return {
            position: tuple(
                NearMistake(positions[place], round(value, 5)) for place, value in zip(places, values, strict=True)
            )
            for position, places, values in zip(positions, near.images.tolist(), near.similarity.tolist(), strict=True)
        }
