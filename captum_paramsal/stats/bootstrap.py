"""Intervals of means by the bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from math import nan
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RESAMPLES = 2000

_ENDS = (0.025, 0.975)
_AT_ONCE = 2**24
"""Places that are drawn at once: 128 MB."""
_REMEMBERED = 2000
"""Rows up to which a drawing is kept for the next mean: 32 MB."""


def bootstrap_mean(values: Tensor, seed: int = 0) -> tuple[float, float, float]:
    """Mean of a sample with the ends of its 95 % percentile bootstrap interval; NaN is left out.

    Args:
        values: ``(N,)``.
        seed: Fixes the resampling.

    Returns:
        Mean, lower and upper end; all NaN for no value, ends NaN for a single one.

    >>> bootstrap_mean(torch.tensor([1.0, 1.0, 1.0]))
    (1.0, 1.0, 1.0)
    """
    known = values[~values.isnan()].detach().cpu().double().numpy()
    if not len(known):
        return nan, nan, nan
    mean = float(known.mean())
    if len(known) == 1:
        return mean, nan, nan
    means = np.concatenate([known[places].mean(axis=1) for places in _resamples(len(known), seed)])
    low, high = np.quantile(means, _ENDS)
    return mean, float(low), float(high)


def bootstrap_means(values: Tensor, seed: int = 0) -> Tensor:
    """Mean of every column over its rows, with the ends of its 95 % percentile bootstrap interval.

    All columns are resampled together, so that curves keep their shape. NaN is left out.

    Args:
        values: ``(N, C)``.
        seed: Fixes the resampling.

    Returns:
        ``(3, C)`` float64: mean, lower and upper end; all NaN for a column of NaN, ends NaN for one of a single number.

    >>> bootstrap_means(torch.ones(4, 2)).tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    rows = values.detach().cpu().double()
    return _with_ends(rows.nanmean(dim=0), lambda: resampled_means(rows, seed), _several(rows))


def table_of_means(measures: Mapping[str, Tensor], seed: int = 0, **cells: int) -> list[dict[str, Any]]:
    """One row for each measure: mean over its rows, with the ends of its 95 % percentile bootstrap interval.

    Args:
        measures: ``(N,)`` each, resampled together.
        seed: Fixes the resampling.
        **cells: What every row says besides, such as ``images=N``.

    >>> table_of_means({"hits": torch.ones(3)}, images=3)
    [{'measure': 'hits', 'images': 3, 'mean': 1.0, 'low': 1.0, 'high': 1.0}]
    """
    found = bootstrap_means(torch.stack(list(measures.values()), dim=1), seed)
    return [
        {"measure": name, **cells, "mean": mean, "low": low, "high": high}
        for name, (mean, low, high) in zip(measures, found.T.tolist(), strict=True)
    ]


def bootstrap_difference(group: Tensor, other: Tensor, seed: int = 0) -> Tensor:
    """Difference of the means of two groups of different images, with its 95 % percentile bootstrap interval.

    Each group is resampled by itself; NaN is left out.

    Args:
        group: ``(N, C)``.
        other: ``(M, C)``.
        seed: Fixes the resampling.

    Returns:
        ``(3, C)`` float64: mean of the first group less that of the other, lower and upper end; ends NaN where a group
        has a single number.

    >>> bootstrap_difference(torch.full((3, 1), 5.0), torch.full((4, 1), 2.0)).flatten().tolist()
    [3.0, 3.0, 3.0]
    """
    both = [rows.detach().cpu().double() for rows in (group, other)]

    def resampled() -> Tensor:
        # Of one seed, groups of the same size would draw the same places.
        first, second = (resampled_means(rows, seed + number) for number, rows in enumerate(both))
        return first - second

    mean = both[0].nanmean(dim=0) - both[1].nanmean(dim=0)
    return _with_ends(mean, resampled, _several(both[0]) & _several(both[1]))


def _several(rows: Tensor) -> Tensor:
    """Which columns have more than one number, ``(C,)``: of a single one every resample is the same."""
    return (~rows.isnan()).sum(dim=0) > 1


def _with_ends(mean: Tensor, resampled: Callable[[], Tensor], known: Tensor) -> Tensor:
    """Means and the ends of their intervals, ``(3, C)``, of the columns where these are known."""
    ends = torch.full((2, len(mean)), torch.nan, dtype=torch.float64)
    if known.any():
        quantiles = resampled().nanquantile(torch.tensor(_ENDS, dtype=torch.float64), dim=0)
        ends = torch.where(known, quantiles, torch.nan)
    return torch.cat([mean[None], ends])


def resampled_means(values: Tensor, seed: int = 0) -> Tensor:
    """Means of every column over rows drawn with replacement, the same rows for all columns; NaN is left out.

    Args:
        values: ``(N, C)``.
        seed: Fixes the drawing: two tables of as many rows draw the same ones.

    Returns:
        ``(2000, C)`` float64; NaN where a column has no number in any of the rows that were drawn.

    >>> resampled_means(torch.ones(4, 2)).shape
    torch.Size([2000, 2])
    """
    rows = values.detach().cpu().double()
    known, filled = (~rows.isnan()).double(), rows.nan_to_num()
    means = []
    for places in map(torch.from_numpy, _resamples(len(rows), seed)):
        # How often each row was drawn: a product with the rows is faster than to gather them.
        counts = torch.zeros(places.shape, dtype=torch.float64)
        counts.scatter_add_(1, places, torch.ones_like(counts))
        means.append((counts @ filled) / (counts @ known))
    return torch.cat(means)


def _resamples(count: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Places of so many rows drawn with replacement, in a row for each resample; in parts where there are many."""
    if count <= _REMEMBERED:
        yield _remembered(count, seed)
        return
    generator = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // count)
    for start in range(0, RESAMPLES, step):
        yield generator.integers(count, size=(min(step, RESAMPLES - start), count))


# Of the hundreds of means in a table, most are over as many images as the one before.
@lru_cache(maxsize=4)
def _remembered(count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
