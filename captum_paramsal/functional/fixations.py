"""From image points to a box and a heat map, as CNN-Fixations has them."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import torch
from torch import Tensor

RADIUS = 0.10
"""Neighbours are counted within this share of the image's diagonal."""

CROWD = 0.05
"""A point with no more than this share of all points around it is an outlier."""

SIGMA = 20 / 224
"""Width of the blur, as a share of the image's shorter side; through slices or frames, of their number."""

_PART = 4096
"""Places of a long sequence that are blurred at once."""


def crowded(points: Tensor, size: Sequence[int]) -> Tensor:
    """Which points are no outliers: more than 5 % of an image's points lie within 10 % of its diagonal.

    Where that is true of none, there is no crowd that any of them is apart from, and none is an outlier.

    Args:
        points: Rows and columns, ``(K, 2)``; as many numbers as the image has dimensions.
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

    Of places in other than two dimensions ``(K, D)``, the near corner and the far one ``(2 D,)``, from the last
    dimension to the first.

    >>> box_of_points(torch.tensor([[2, 3], [5, 4]]))
    tensor([3., 2., 5., 6.], dtype=torch.float64)
    """
    if not len(points):
        return torch.full((2 * points.shape[1],), torch.nan, dtype=torch.float64, device=points.device)
    low, high = points.amin(dim=0), points.amax(dim=0) + 1
    return torch.cat([low.flip(0), high.flip(0)]).double()


def heat_map(votes: Tensor, sigma: float | Sequence[float] | None = None) -> Tensor:
    """Votes blurred by a Gaussian and scaled to a maximum of 1; all 0 stays 0.

    Outside the image there are no votes. The kernel reaches as far as the largest odd size within the image allows.

    Args:
        votes: ``(N, H, W)``; of volumes ``(N, D, H, W)``, of sequences ``(N, L)``.
        sigma: Width of the Gaussian in pixels, one for all dimensions or one for each; 20 pixels at 224 of the shorter
            side, in proportion, if None, and through slices the same share of their number.
    """
    sizes = votes.shape[1:]
    sides = sizes[-2:]
    spans = [*sizes[:-2], *[min(sides)] * len(sides)]
    widths = [SIGMA * span for span in spans] if sigma is None else torch.as_tensor(sigma).expand(len(sizes)).tolist()
    blurred = votes
    for dimension, (span, width) in enumerate(zip(spans, widths, strict=True), start=1):
        blurred = _blurred(blurred, dimension, width, (span - 1) // 2)
    return blurred / blurred.flatten(1).amax(dim=1).clamp(min=torch.finfo(votes.dtype).tiny).view(-1, *[1] * len(sizes))


def _blurred(votes: Tensor, dimension: int, sigma: float, reach: int) -> Tensor:
    """Votes after a one-dimensional blur; in parts, since the kernel of a long sequence is too large as one matrix."""
    size = votes.shape[dimension]
    parts = [
        _kernel(size, range(start, min(start + _PART, size)), sigma, reach).to(votes) for start in range(0, size, _PART)
    ]
    rows = votes.movedim(dimension, -1)
    return torch.cat([rows @ part for part in parts], dim=-1).movedim(-1, dimension)


def _kernel(size: int, places: range, sigma: float, reach: int) -> Tensor:
    """The one-dimensional blur at some places as a matrix, ``(size, places)``."""
    at = torch.arange(places.start, places.stop, dtype=torch.float64)
    distance = (torch.arange(size, dtype=torch.float64)[:, None] - at).abs()
    return torch.exp(-(distance**2) / (2 * sigma**2)).masked_fill(distance > reach, 0)
