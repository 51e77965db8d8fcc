"""Saliency profiles with fewer points, for many small plots."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import profile_curve

_POINTS = 500
"""Points of a whole curve, about: a plot is a few hundred pixels wide."""


def without(filters: FilterIndex, dead: Collection[int]) -> tuple[FilterIndex, list[int]]:
    """The filters that are left, layer by layer, when some columns of the scores are left out; and their columns.

    A layer whose filters are all left out keeps its place, empty.

    >>> filters, columns = without(FilterIndex({"conv1": 3, "conv2": 1}), {0, 3})
    >>> dict(filters.counts), columns
    ({'conv1': 2, 'conv2': 0}, [1, 2])
    """
    gone = frozenset(dead)
    layers = {name: filters.slice(name) for name in filters.layers}
    kept = {
        name: [column for column in range(span.start, span.stop) if column not in gone] for name, span in layers.items()
    }
    counts = {name: len(columns) for name, columns in kept.items()}
    return FilterIndex(counts), [column for columns in kept.values() for column in columns]


class CurveSampler:
    """Takes the same few ranks of every layer out of each profile, densest where profiles are steepest.

    The highest and the lowest filter of every layer are always among them.

    Args:
        filters: What the profiles belong to.
        dead: Columns that are left out.
        points: How many, at least three per layer.

    >>> sampler = CurveSampler(FilterIndex({"conv1": 100, "conv2": 2}), points=8)
    >>> [round(place, 2) for place in sampler.places]
    [0.01, 0.04, 0.21, 0.99, 1.25, 1.75]
    """

    def __init__(self, filters: FilterIndex, dead: Collection[int] = (), points: int = _POINTS) -> None:
        self._living, self._living_columns = without(filters, dead)
        filters = self._living
        per_layer = max(3, points // len(filters.layers))
        starts = [filters.slice(layer).start for layer in filters.layers]
        counts = filters.counts.values()
        self._columns = [start + rank for start, n in zip(starts, counts, strict=True) for rank in _ranks(n, per_layer)]
        places, _ = profile_curve(torch.zeros(len(filters)), filters)
        self.places: tuple[float, ...] = tuple(round(place, 4) for place in places[self._columns].tolist())

    def __call__(self, scores: Tensor) -> list[tuple[float, ...]]:
        """Heights of the curves of scores ``(N, F)`` at ``places``, to two decimals."""
        _, heights = profile_curve(scores.detach().cpu()[:, self._living_columns], self._living)
        return [tuple(round(height, 2) for height in row) for row in heights[:, self._columns].tolist()]


def _ranks(count: int, wanted: int) -> list[int]:
    if count <= wanted:
        return list(range(count))
    ratio = count ** (1 / (wanted - 1))
    return sorted({min(count - 1, round(ratio**step) - 1) for step in range(wanted)})
