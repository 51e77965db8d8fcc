"""The border of a mask, as few straight lines as it takes."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import Values, as_values
from captum_paramsal.viz.style import INK

_LIGHT = "#ffffff"


def outline(mask: Values) -> Tensor:
    """Lines between the pixels of a mask and those around it.

    Args:
        mask: ``(H, W)`` bool.

    Returns:
        x1, y1, x2, y2 of each line, ``(L, 4)`` int64; pixel ``(y, x)`` reaches from ``(x, y)`` to ``(x + 1, y + 1)``.

    Raises:
        InputError: A mask of another shape.

    >>> outline(torch.tensor([[True, True], [False, False]])).tolist()
    [[0, 0, 2, 0], [0, 1, 2, 1], [0, 0, 0, 1], [2, 0, 2, 1]]
    """
    inside = as_values(mask)
    if inside.ndim != 2 or inside.dtype != torch.bool:
        message = f"Expected a mask (H, W) of bool, got {tuple(inside.shape)} of {inside.dtype}."
        raise InputError(message)
    level, upright = _levels(inside), _levels(inside.T)[:, [1, 0, 3, 2]]
    return torch.cat([level, upright])


def draw_outline(axes: Axes, mask: Tensor) -> None:
    """Draw the border of a mask over its image: a white line on a dark one, to be seen on any picture."""
    ends = (outline(mask).double() - 0.5).view(-1, 2, 2).numpy()
    for color, width in ((INK, 3.0), (_LIGHT, 1.4)):
        axes.add_collection(LineCollection(list(ends), colors=color, linewidths=width, capstyle="projecting", zorder=4))


def _levels(inside: Tensor) -> Tensor:
    """The lines that lie level."""
    height, width = inside.shape
    framed = torch.zeros(height + 2, width + 2, dtype=torch.int64)
    framed[1:-1, 1:-1] = inside
    # Ends of a run are where the step from the row above changes along the row.
    steps = framed[1:] - framed[:-1]
    begins = ((steps != 0) & (steps != steps.roll(1, dims=1))).nonzero()
    ends = ((steps != 0) & (steps != steps.roll(-1, dims=1))).nonzero()
    return torch.stack([begins[:, 1] - 1, begins[:, 0], ends[:, 1], ends[:, 0]], dim=1)
