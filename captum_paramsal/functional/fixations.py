"""From image points to a box and a heat map, as CNN-Fixations has them."""

from __future__ import annotations

from math import hypot

import torch
from torch import Tensor

RADIUS = 0.10
"""Neighbours are counted within this share of the image's diagonal."""

CROWD = 0.05
"""A point with no more than this share of all points around it is an outlier."""

SIGMA = 20 / 224
"""Width of the blur, as a share of the image's shorter side."""


def crowded(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Which points are no outliers: more than 5 % of an image's points lie within 10 % of its diagonal.

    Where that is true of none, there is no crowd that any of them is apart from, and none is an outlier.

    Args:
        points: Rows and columns, ``(K, 2)``.
        size: Height and width of the image.

    Returns:
        ``(K,)`` bool.

    References:
        Mopuri et al., *CNN Fixations* (2019), section III-D.
    """
    places = points.double()
    radius = RADIUS * hypot(*size)
    # Squared, whole numbers stay exact.
    distances = ((places[:, None] - places[None]) ** 2).sum(dim=2)
    crowd = (distances <= radius**2).sum(dim=1) > CROWD * len(points)
    return crowd if crowd.any() else ~crowd


def box_of_points(points: Tensor) -> Tensor:
    """Tight box ``(x1, y1, x2, y2)`` of points ``(K, 2)``, its far ends exclusive; NaN without a point.

    >>> box_of_points(torch.tensor([[2, 3], [5, 4]]))
    tensor([3., 2., 5., 6.], dtype=torch.float64)
    """
    if not len(points):
        return torch.full((4,), torch.nan, dtype=torch.float64, device=points.device)
    low, high = points.amin(dim=0), points.amax(dim=0) + 1
    return torch.stack([low[1], low[0], high[1], high[0]]).double()


def heat_map(votes: Tensor, sigma: float | None = None) -> Tensor:
    """Votes blurred by a Gaussian and scaled to a maximum of 1; all 0 stays 0.

    Outside the image there are no votes. The kernel reaches as far as the largest odd size within the image allows.

    Args:
        votes: ``(N, H, W)``.
        sigma: Width of the Gaussian in pixels; 20 pixels at 224, in proportion, if None.
    """
    height, width = votes.shape[1:]
    sigma = SIGMA * min(height, width) if sigma is None else sigma
    reach = (min(height, width) - 1) // 2
    rows, columns = (_kernel(size, sigma, reach).to(votes) for size in (height, width))
    blurred = rows @ votes @ columns
    return blurred / blurred.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(votes.dtype).tiny)


def _kernel(size: int, sigma: float, reach: int) -> Tensor:
    """The one-dimensional blur as a matrix, ``(size, size)``."""
    offsets = torch.arange(size, dtype=torch.float64)
    distance = (offsets[:, None] - offsets[None]).abs()
    return torch.exp(-(distance**2) / (2 * sigma**2)).masked_fill(distance > reach, 0)
