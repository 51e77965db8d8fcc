"""Where a decision that was followed back ends in its image: points, box and heat map."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.style import INK, PALETTE, new_axes, styled

__all__ = ["grey", "trace_plot"]

_HEAT = "inferno"
"""From black to yellow it rises evenly in brightness, so it is read alike with any kind of colour blindness."""
_DIMMED, _COVERED = 0.65, 0.8
"""Brightness of the picture below, and how much the brightest heat hides of it."""
_POINT, _BOX = PALETTE[5], "#ffffff"
"""Sky blue is the one colour of the palette that the heat map does not have; white is lighter than all of it."""
_ACROSS, _MANY = 45, 100
"""How many points stand side by side over the width of a picture, and from how many on they become smaller."""


def trace_plot(
    image: Tensor,
    points: ArrayLike | Tensor,
    box: ArrayLike | Tensor | None = None,
    heatmap: Tensor | None = None,
    ax: Axes | None = None,
    *,
    title: str = "",
) -> Axes:
    """Draw traced points over a dimmed grey copy of their image, with their box and heat map.

    Args:
        image: ``(1 or 3, H, W)`` with values in [0, 1], before any normalisation; values outside are cut off.
        points: y and x of each, in pixels of the image, ``(K, 2)``; K may be 0.
        box: x1, y1 inclusive, x2, y2 exclusive, ``(4,)``; NaN is no box.
        heatmap: ``(H, W)``, not negative; the brighter, the higher, up to its maximum.
        ax: Where to draw; by default on a new figure.
        title: Over the picture.

    Returns:
        The axes. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: Something of another shape, or points that lie outside the image.

    >>> ax = trace_plot(torch.rand(3, 8, 8), torch.tensor([[1, 5], [2, 6]]), torch.tensor([5, 1, 7, 3]))
    >>> ax.collections[0].get_offsets().tolist()
    [[5.0, 1.0], [6.0, 2.0]]
    """
    picture = grey(image)
    height, width = picture.shape
    places = _checked(points, height, width)
    corners = None if box is None else _corners(box)
    with styled():
        axes = new_axes(3.6, 3.6 * height / width) if ax is None else ax
        axes.imshow(_DIMMED * picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        if heatmap is not None:
            _draw_heat(axes, heatmap, (height, width))
        across = axes.bbox.width / axes.figure.dpi * 72 / _ACROSS * min(1.0, _MANY / max(1, len(places))) ** 0.25
        axes.scatter(places[:, 1], places[:, 0], s=across**2, c=_POINT, edgecolors=INK, linewidths=across / 8, zorder=5)
        if corners is not None and not corners.isnan().any():
            _draw_box(axes, corners.tolist())
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.5, -0.5)
        axes.set_axis_off()
        axes.set_title(title)
    return axes


def grey(image: Tensor) -> Tensor:
    """A grey copy ``(H, W)`` of an image ``(1 or 3, H, W)``, as bright as it (ITU-R BT.601).

    Raises:
        InputError: An image of another shape.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        message = f"Expected an image of shape (1 or 3, H, W), got {tuple(image.shape)}."
        raise InputError(message)
    weights = torch.tensor([0.299, 0.587, 0.114] if image.shape[0] == 3 else [1.0])
    return (image.detach().cpu().float().clamp(0, 1) * weights[:, None, None]).sum(dim=0)


def _draw_heat(axes: Axes, heatmap: Tensor, size: tuple[int, int]) -> None:
    heat = heatmap.detach().cpu().float()
    if heat.shape != size or not (heat >= 0).all() or not heat.isfinite().all():
        message = (
            f"Expected a heat map {size} of numbers that are finite and not negative, got {tuple(heat.shape)} from "
            f"{float(heat.min()) if heat.numel() else 0:g}."
        )
        raise InputError(message)
    shares = heat / heat.max().clamp(min=torch.finfo(heat.dtype).tiny)
    axes.imshow(
        shares.numpy(), cmap=_HEAT, vmin=-0.3, vmax=1, alpha=_COVERED * shares.sqrt().numpy(), interpolation="nearest"
    )


def _draw_box(axes: Axes, corners: list[float]) -> None:
    """A white line between two dark ones, to be seen on any picture."""
    x1, y1, x2, y2 = (side - 0.5 for side in corners)
    for color, line in ((INK, 3.4), (_BOX, 1.6)):
        axes.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=color, linewidth=line, clip_on=False, zorder=4)
        )


def _checked(points: ArrayLike | Tensor, height: int, width: int) -> Tensor:
    places = torch.as_tensor(points).detach().cpu()
    if places.ndim != 2 or places.shape[1] != 2:
        message = f"Expected points (y, x), (K, 2), got {tuple(places.shape)}."
        raise InputError(message)
    outside = ~((places >= 0) & (places < torch.tensor([height, width]))).all(dim=1)
    if outside.any():
        first = tuple(places[outside][0].tolist())
        message = f"Expected points (y, x) within the image of {height} x {width} pixels (height x width), got {first}."
        raise InputError(message)
    return places


def _corners(box: ArrayLike | Tensor) -> Tensor:
    corners = torch.as_tensor(box).detach().cpu().double()
    if corners.shape != (4,):
        message = f"Expected a box (x1, y1, x2, y2), got shape {tuple(corners.shape)}."
        raise InputError(message)
    return corners
