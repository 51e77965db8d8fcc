"""Whether two methods rank the pixels of an image in the same order."""

from __future__ import annotations

import torch
from scipy.stats import rankdata
from torch import Tensor


def rank_agreement(maps: Tensor) -> Tensor:
    """Spearman's correlation of every two methods' maps of the same image.

    Args:
        maps: One number per pixel, ``(M, N, H, W)``; equal numbers share their mean rank.

    Returns:
        ``(N, M, M)`` float64; NaN where one of the maps does not vary, or is not finite.

    >>> rank_agreement(torch.tensor([[[[1.0, 2.0, 3.0]]], [[[1.0, 4.0, 9.0]]], [[[3.0, 2.0, 1.0]]]]))[0, 0]
    tensor([ 1.0000,  1.0000, -1.0000], dtype=torch.float64)
    """
    values = maps.detach().cpu().double().flatten(2)
    usable = values.isfinite().all(dim=2, keepdim=True)
    # A map that is not finite has no ranks: it counts as one that does not vary.
    ranks = torch.from_numpy(rankdata(values.where(usable, 0.0).numpy(), axis=2))
    centred = ranks - ranks.mean(dim=2, keepdim=True)
    lengths = centred.norm(dim=2)
    products = torch.einsum("anp,bnp->nab", centred, centred)
    correlations: Tensor = products / (lengths[:, None] * lengths).movedim(2, 0)
    return correlations.where(correlations.isfinite(), torch.nan)
