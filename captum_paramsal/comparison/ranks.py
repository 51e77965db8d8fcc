"""Which methods come first by a measure, how sure that is, and whether two measures rank them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from captum_paramsal.metrics import Column
from captum_paramsal.stats import resampled_means

BLIND = ("centre", "random")
"""Presets that do not look at the model: they are never the best, whatever they score."""

FEWEST_IMAGES = 6
"""Images below which there are no ranks: so few hardly ever tell two methods apart."""

_MOSTLY = 0.9
"""Share of the most images that any method has a score for: with fewer, a mean is over other images."""
_FEWEST_METHODS = 3
_ENDS = (0.025, 0.975)


@dataclass(frozen=True)
class RankedMethod:
    """A method's place by one measure.

    Attributes:
        method: Its name.
        rank: 1 for the best mean; equal means share the mean of their ranks.
        low: Lower end of the rank's 95 % interval, over images drawn again and again, the same for all methods.
        high: Upper end.
        unbeaten: Controls that its mean is not better than, by the 95 % interval of the difference.
    """

    method: str
    rank: float
    low: float
    high: float
    unbeaten: tuple[str, ...]


@dataclass(frozen=True)
class MeasureRanks:
    """The methods by one measure.

    Attributes:
        measure: The column.
        images: How many images the ranks are of: those on which every ranked method has a score.
        methods: The best first.
        controls: What looks at no model or at no map, and has a score.
    """

    measure: str
    images: int
    methods: tuple[RankedMethod, ...]
    controls: tuple[str, ...]

    @property
    def top(self) -> tuple[str, ...]:
        """The first, and the methods whose interval overlaps its; none else can be the best."""
        first = self.methods[0]
        return tuple(one.method for one in self.methods if one is first or one.low <= first.high)


@dataclass(frozen=True)
class MeasureAgreement:
    """Whether what is good by one measure is good by another.

    Attributes:
        first: The one measure.
        second: The other.
        methods: How many methods both rank.
        correlation: Spearman's, of the methods' ranks.
        low: Lower end of its 95 % interval, over images.
        high: Upper end.
    """

    first: str
    second: str
    methods: int
    correlation: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class RankedMeasure:
    """A measure's ranks, and what they were made of.

    Attributes:
        ranks: The ranks.
        names: Of the ranked methods, in the order of the means.
        means: Goodness of each, the higher the better, ``(K,)``.
        drawn: The same for images that are drawn again, ``(R, K)``.
    """

    ranks: MeasureRanks
    names: tuple[str, ...]
    means: NDArray[np.float64]
    drawn: NDArray[np.float64]


def can_be_best(method: str, images: int, most: int) -> bool:
    """Whether a method's mean can be the best.

    Args:
        method: Its name; those that look at nothing do not compete.
        images: How many images it has a score for.
        most: How many any method has one for.
    """
    return images > 0 and method not in BLIND and images >= _MOSTLY * most


def ranked_measure(
    column: Column, names: Sequence[str], scores: Tensor, explained: int, seed: int = 0
) -> RankedMeasure | None:
    """Methods by a measure.

    Args:
        column: The measure, which has a better end.
        names: Of methods and, after these, of baselines, M.
        scores: ``(M, N)``; NaN where there is none.
        explained: How many of the M are methods.
        seed: Fixes the resampling.

    Returns:
        None for fewer than two methods that compete, or fewer than :data:`FEWEST_IMAGES` that all of them share.
    """
    counts = (~scores[:explained].isnan()).sum(dim=1).tolist()
    rows = [row for row, count in enumerate(counts) if can_be_best(names[row], count, max(counts))]
    goodness = scores if column.better == "higher" else -scores
    shared = ~goodness[rows].isnan().any(dim=0)
    if len(rows) < 2 or int(shared.sum()) < FEWEST_IMAGES:
        return None
    others = [
        row
        for row, name in enumerate(names)
        if (row >= explained or name in BLIND) and bool(scores[row, shared].isfinite().any())
    ]
    controls = tuple(names[row] for row in others)
    # Every measure draws from all images, so that two of them draw the same ones.
    kept = goodness[rows].where(shared, torch.nan).T
    means, drawn = kept.nanmean(dim=0).numpy(), resampled_means(kept, seed).numpy()
    ranked = tuple(names[row] for row in rows)
    unbeaten = _unbeaten(kept, goodness[others].T, controls, seed)
    ranks = MeasureRanks(column.name, int(shared.sum()), _methods(ranked, means, drawn, unbeaten), controls)
    return RankedMeasure(ranks, ranked, means, drawn)


def _methods(
    names: Sequence[str], means: NDArray[np.float64], drawn: NDArray[np.float64], unbeaten: Sequence[tuple[str, ...]]
) -> tuple[RankedMethod, ...]:
    ranks = rankdata(-means)
    low, high = np.nanquantile(rankdata(-drawn, axis=1), _ENDS, axis=0, method="inverted_cdf")
    ends = zip(names, ranks.tolist(), low.tolist(), high.tolist(), unbeaten, strict=True)
    return tuple(sorted((RankedMethod(*one) for one in ends), key=lambda one: one.rank))


def _unbeaten(methods: Tensor, others: Tensor, controls: Sequence[str], seed: int) -> list[tuple[str, ...]]:
    """The controls that each method is not better than, of goodness ``(N, K)`` and ``(N, C)``."""
    if not controls:
        return [()] * methods.shape[1]
    differences = methods[:, :, None] - others[:, None, :]
    drawn = resampled_means(differences.flatten(1), seed)
    better = drawn.view(len(drawn), *differences.shape[1:]).nanquantile(_ENDS[0], dim=0) > 0
    return [tuple(name for name, won in zip(controls, row, strict=True) if not won) for row in better.tolist()]


def measure_agreement(one: RankedMeasure, other: RankedMeasure) -> MeasureAgreement | None:
    """Whether two measures of the same images, drawn with the same seed, rank the methods alike.

    Returns:
        None for fewer than three methods that both rank, or where one of them tells none apart.
    """
    names = [name for name in one.names if name in other.names]
    if len(names) < _FEWEST_METHODS:
        return None
    places = [[ranked.names.index(name) for name in names] for ranked in (one, other)]
    (correlation,) = _correlations(one.means[None, places[0]], other.means[None, places[1]])
    if np.isnan(correlation):
        return None
    drawn = _correlations(one.drawn[:, places[0]], other.drawn[:, places[1]])
    low, high = np.nanquantile(drawn, _ENDS)
    first, second = one.ranks.measure, other.ranks.measure
    return MeasureAgreement(first, second, len(names), float(correlation), float(low), float(high))


def _correlations(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's correlation of every two rows, ``(R,)``; NaN where one is the same everywhere."""
    a, b = (rankdata(values, axis=1) for values in (one, other))
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (a, b))
    lengths = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    products: NDArray[np.float64] = (a * b).sum(axis=1)
    correlations: NDArray[np.float64] = np.divide(products, lengths, out=np.full(len(a), np.nan), where=lengths > 0)
    return correlations
