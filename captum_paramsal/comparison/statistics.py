"""How sure the difference between two methods on the same images is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon
from torch import Tensor

from captum_paramsal.stats import bootstrap_mean

_FEW = 13
"""Images up to which all ways to give the differences a sign are counted, ties or not, as scipy does."""


@dataclass(frozen=True)
class PairedDifference:
    """How much higher one method scores than another on the same images.

    Attributes:
        first: Name of the one method.
        second: Name of the other.
        images: Images that both have a score for.
        mean: Mean of first - second.
        interval: 95 % bootstrap interval of this mean, over images.
        p_value: Wilcoxon's signed-rank test, two-sided; NaN for fewer than six images that differ.
        adjusted: The p-value after Holm's correction for all the pairs.
    """

    first: str
    second: str
    images: int
    mean: float
    interval: tuple[float, float]
    p_value: float
    adjusted: float = nan


def paired_differences(names: list[str], values: Tensor, seed: int = 0) -> list[PairedDifference]:
    """Every two methods on one metric.

    Args:
        names: Of the methods, M.
        values: ``(M, N)``.
        seed: Fixes the resampling.
    """
    pairs = []
    for (first, scores), (second, others) in combinations(zip(names, values, strict=True), 2):
        difference = scores - others
        difference = difference[~difference.isnan()]
        mean, low, high = bootstrap_mean(difference, seed)
        pairs.append(PairedDifference(first, second, len(difference), mean, (low, high), _signed_rank(difference)))
    adjusted = holm([pair.p_value for pair in pairs])
    return [replace(pair, adjusted=p_value) for pair, p_value in zip(pairs, adjusted, strict=True)]


def holm(p_values: list[float]) -> list[float]:
    """Holm's correction for several tests; NaN is no test.

    >>> holm([0.01, 0.04, nan])
    [0.02, 0.04, nan]
    """
    tests = sorted((p, i) for i, p in enumerate(p_values) if p == p)  # noqa: PLR0124 -- NaN is not itself
    adjusted, highest = [nan] * len(p_values), 0.0
    for rank, (p, i) in enumerate(tests):
        highest = max(highest, min(1.0, p * (len(tests) - rank)))
        adjusted[i] = highest
    return adjusted


def _signed_rank(difference: Tensor) -> float:
    moved = difference[difference != 0].double().numpy()
    if len(moved) < 6:
        return nan
    return _counted(moved) if len(moved) <= _FEW else float(wilcoxon(moved).pvalue)


def _counted(moved: NDArray[np.float64]) -> float:
    """Wilcoxon's two-sided p-value of a few differences, from the number of ways to reach each sum of ranks.

    Scipy says the same, but lists all the ways one by one where differences are tied, which takes it seconds.
    """
    # Twice the ranks are whole numbers: tied differences share the mean of theirs.
    ranks = np.rint(2 * rankdata(np.abs(moved))).astype(int)
    ways = np.ones(1)
    for rank in ranks:
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    positive = ranks[moved > 0].sum()
    tail = min(ways[: positive + 1].sum(), ways[positive:].sum())
    return float(min(1.0, 2 * tail / 2.0 ** len(moved)))
