"""Intervals of means by the bootstrap."""

from __future__ import annotations

import torch
from torch import Tensor

RESAMPLES = 1000
BLOCK = 2**24
"""Numbers that are drawn at once."""


def bootstrap_means(values: Tensor, seed: int = 0, resamples: int = RESAMPLES) -> Tensor:
    """Mean of every column over its rows, with the ends of its 95 % percentile bootstrap interval.

    All columns are resampled alike, so that curves keep their shape. NaN is left out.

    Args:
        values: ``(N, C)``.
        seed: Fixes the resampling.
        resamples: How often rows are drawn.

    Returns:
        ``(3, C)`` float64: mean, lower and upper end; all NaN for a column of NaN, ends NaN for a single row.

    >>> bootstrap_means(torch.ones(4, 2)).tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    rows = values.detach().cpu().double()
    mean = rows.nanmean(dim=0)
    if len(rows) < 2:
        nothing = torch.full_like(mean, torch.nan)
        return torch.stack([mean, nothing, nothing])
    generator = torch.Generator().manual_seed(seed)
    known, filled = (~rows.isnan()).double(), rows.nan_to_num()
    means = []
    step = max(1, BLOCK // len(rows))
    for start in range(0, resamples, step):
        drawn = torch.randint(len(rows), (min(step, resamples - start), len(rows)), generator=generator)
        counts = torch.zeros(len(drawn), len(rows), dtype=torch.float64)
        counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
        means.append((counts @ filled) / (counts @ known))
    ends = torch.cat(means).nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    return torch.cat([mean[None], ends])
