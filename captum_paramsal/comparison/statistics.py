"""How sure a mean over images is, and a difference between two methods on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon
from torch import Tensor

RESAMPLES = 2000

_FEW = 13
"""Images up to which all ways to give the differences a sign are counted, ties or not, as scipy does."""
_REMEMBERED = 2000
"""Images up to which a drawing of images is kept for the next mean: 32 MB."""


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


def bootstrap_mean(values: Tensor, seed: int = 0) -> tuple[float, float, float]:
    """Mean over images with the ends of its 95 % percentile bootstrap interval; NaN is left out.

    Args:
        values: ``(N,)``.
        seed: Fixes the resampling.

    Returns:
        Mean, lower and upper end; all NaN for no image, ends NaN for a single one.

    >>> import torch
    >>> bootstrap_mean(torch.tensor([1.0, 1.0, 1.0]))
    (1.0, 1.0, 1.0)
    """
    known = values[~values.isnan()].double().numpy()
    if not len(known):
        return nan, nan, nan
    mean = float(known.mean())
    if len(known) == 1:
        return mean, nan, nan
    draw = _remembered if len(known) <= _REMEMBERED else _drawn
    low, high = np.quantile(known[draw(len(known), seed)].mean(axis=1), (0.025, 0.975))
    return mean, float(low), float(high)


def paired_differences(names: list[str], values: Tensor, seed: int = 0) -> list[PairedDifference]:
    """Every two methods on one metric.

    Args:
        names: Of the methods, M.
        values: ``(M, N)``.
        seed: Fixes the resampling.
    """
    found = []
    for i, first in enumerate(names):
        for j in range(i + 1, len(names)):
            difference = values[i] - values[j]
            difference = difference[~difference.isnan()]
            mean, low, high = bootstrap_mean(difference, seed)
            found.append(
                PairedDifference(first, names[j], len(difference), mean, (low, high), _signed_rank(difference))
            )
    adjusted = holm([one.p_value for one in found])
    return [
        PairedDifference(one.first, one.second, one.images, one.mean, one.interval, one.p_value, p)
        for one, p in zip(found, adjusted, strict=True)
    ]


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


def _drawn(count: int, seed: int) -> NDArray[np.int64]:
    """Places of so many images drawn with replacement, in a row for each resample."""
    return np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))


# Of the hundreds of means in a table, most are over as many images as the one before.
_remembered = lru_cache(maxsize=4)(_drawn)


def _signed_rank(difference: Tensor) -> float:
    moved = difference[difference != 0].double().numpy()
    if len(moved) < 6:
        return nan
    return _counted(moved) if len(moved) <= _FEW else float(wilcoxon(moved).pvalue)


def _counted(moved: NDArray[np.float64]) -> float:
    """Wilcoxon's two-sided p-value of a few differences, from the number of ways to reach each sum of ranks.

    Scipy says the same, but lists all the ways one by one where differences are tied.
    """
    # Twice the ranks are whole numbers: tied differences share the mean of theirs.
    ranks = np.rint(2 * rankdata(np.abs(moved))).astype(int)
    ways = np.ones(1)
    for rank in ranks:
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    positive = ranks[moved > 0].sum()
    tail = min(ways[: positive + 1].sum(), ways[positive:].sum())
    return float(min(1.0, 2 * tail / 2.0 ** len(moved)))
