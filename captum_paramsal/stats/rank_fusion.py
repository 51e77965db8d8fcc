"""One ranking from several that measure different things."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.stats import rankdata
from torch import Tensor

OFFSET = 10
"""Ranks much smaller than this count the same."""


def reciprocal_rank_fusion(scores: Sequence[Tensor], offset: float = OFFSET) -> Tensor:
    """Sum over the rankings of ``1 / (offset + rank)``: high for what is near the top of several of them.

    Scores of any scale may be fused, since their ranks alone count.

    Args:
        scores: Of one shape ``(..., F)`` each, the highest being best; equal ones share their mean rank.
        offset: Ranks much smaller than this count the same.

    Returns:
        ``(..., F)`` float64.

    References:
        Cormack, Clarke and Büttcher, *Reciprocal rank fusion outperforms Condorcet and individual rank learning
        methods*, SIGIR 2009 (there, the offset is 60, for lists of a thousand documents).

    >>> fused = reciprocal_rank_fusion([torch.tensor([3.0, 2.0, 1.0]), torch.tensor([0.1, 0.3, 0.2])])
    >>> fused.argmax().item()
    1
    """
    fused = [1 / (offset + rankdata(-map_.detach().cpu().double().numpy(), axis=-1)) for map_ in scores]
    return torch.from_numpy(sum(fused[1:], start=fused[0]))
