"""Pictures of several sizes on one set of axes."""

from __future__ import annotations

from matplotlib.axes import Axes
from torch import Tensor

_GAP = 0.06


def place_picture(axes: Axes, picture: Tensor, row: float, column: float) -> None:
    """Draw ``(3, H, W)`` in the middle of the unit square at a row and column, with its own aspect."""
    height, width = picture.shape[1:]
    longest = max(height, width) / (1 - 2 * _GAP)
    half_width, half_height = width / longest / 2, height / longest / 2
    x, y = column + 0.5, row + 0.5
    box = (x - half_width, x + half_width, y + half_height, y - half_height)
    axes.imshow(picture.permute(1, 2, 0).numpy(), extent=box, interpolation="none")
