"""How similar two maps are, whatever their scale."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import torch
from scipy.stats import rankdata
from torch import Tensor

NO_SSIM = "scikit-image is not installed; `pip install scikit-image` for SSIM."
"""Why there is no structural similarity."""

_WINDOW = 7
"""Side of the window within which scikit-image compares, in pixels."""


def rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Spearman's rank correlation of the absolute values of two maps.

    Args:
        one: ``(N, H, W)``.
        other: The same shape.

    Returns:
        ``(N,)`` float64 in [-1, 1]; NaN where one is not finite or has the same absolute value everywhere.

    >>> one = torch.tensor([[[1.0, -2.0, 3.0]]])
    >>> rank_correlation(one, one.square()), rank_correlation(one, 1 / one)
    (tensor([1.], dtype=torch.float64), tensor([-1.], dtype=torch.float64))
    """
    usable = _finite(one) & _finite(other)
    a, b = (torch.from_numpy(rankdata(_strength(each, usable).flatten(1).numpy(), axis=1)) for each in (one, other))
    a, b = (ranks - ranks.mean(dim=1, keepdim=True) for ranks in (a, b))
    correlation = (a * b).sum(dim=1) / (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()
    return correlation.clamp(-1, 1).where(usable, torch.nan)


def has_scikit_image() -> bool:
    """Whether scikit-image is installed."""
    return find_spec("skimage") is not None


def structural_similarity(one: Tensor, other: Tensor) -> Tensor:
    """Structural similarity (SSIM) of the absolute values of two maps, each as a share of its largest.

    Args:
        one: ``(N, H, W)``.
        other: The same shape.

    Returns:
        ``(N,)`` float64, at most 1; NaN for a map of zeros or one that is not finite, for maps of less than 3 pixels'
        height or width, and for all without scikit-image.

    References:
        Wang, Bovik, Sheikh, Simoncelli: *Image Quality Assessment: From Error Visibility to Structural Similarity*,
        IEEE Transactions on Image Processing 13 (2004).
    """
    similarity = torch.full((len(one),), torch.nan, dtype=torch.float64)
    window = min(_WINDOW, *one.shape[1:])
    window -= 1 - window % 2
    if not has_scikit_image() or window < 3:
        return similarity
    ssim = import_module("skimage.metrics").structural_similarity
    usable = _finite(one) & _finite(other)
    a, b = (_strength(each, usable) for each in (one, other))
    tops = torch.stack([each.flatten(1).amax(dim=1) for each in (a, b)])
    for place in (usable & (tops > 0).all(dim=0)).nonzero().flatten().tolist():
        shares = [(each[place] / top[place]).numpy() for each, top in zip((a, b), tops, strict=True)]
        similarity[place] = float(ssim(*shares, win_size=window, data_range=1.0))
    return similarity


def _finite(maps: Tensor) -> Tensor:
    return maps.isfinite().flatten(1).all(dim=1)


def _strength(maps: Tensor, usable: Tensor) -> Tensor:
    """Absolute values, 0 for maps that are not compared."""
    return maps.double().abs().where(usable[:, None, None], 0.0)
