"""Where a decision that was followed back ends in its image: points, box and heat map."""

from __future__ import annotations

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn.functional import interpolate

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import Values, as_values, grey
from captum_paramsal.viz.style import INK, PALETTE, new_axes, styled

_HEAT = "inferno"
"""From black to yellow it rises evenly in brightness, so it reads the same with any kind of colour blindness."""
_COLDEST = -0.3
"""What the colour map starts from: its blackest end is left out."""
DIMMED, _COVERED = 0.65, 0.8
"""Brightness of the picture below, and how much the brightest heat hides of it."""
_POINT, _BOX = PALETTE[5], "#ffffff"
"""Sky blue is the one colour of the palette that the heat map does not have; white is lighter than all of it."""
_ACROSS, _MANY = 45, 100
"""How many points stand side by side over the width of a picture, and from how many on they become smaller."""


def trace_plot(
    image: Values,
    points: Values,
    box: Values | None = None,
    heatmap: Values | None = None,
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
        axes.imshow(DIMMED * picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        if heatmap is not None:
            _draw_heat(axes, as_values(heatmap), (height, width))
        across = point_width(axes.bbox.width / axes.figure.dpi * 72, len(places))
        axes.scatter(places[:, 1], places[:, 0], s=across**2, c=_POINT, edgecolors=INK, linewidths=across / 8, zorder=5)
        if corners is not None and not corners.isnan().any():
            _draw_box(axes, corners.tolist())
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.5, -0.5)
        axes.set_axis_off()
        axes.set_title(title)
    return axes


def trace_overlay(image: Values, heatmap: Values) -> Tensor:
    """The picture that :func:`trace_plot` draws points and box on: a heat map over a dimmed grey copy of its image.

    Args:
        image: ``(1 or 3, h, w)`` with values in [0, 1]; values outside are cut off.
        heatmap: ``(H, W)`` of the same picture, in the same or another resolution, not negative.

    Returns:
        ``(3, h, w)``, float32 in [0, 1], on the CPU.

    Raises:
        InputError: Something of another shape, or heat that is negative or not finite.

    >>> trace_overlay(torch.rand(3, 8, 8), torch.eye(4)).shape
    torch.Size([3, 8, 8])
    """
    picture = grey(image)
    glow = trace_glow(heatmap, (picture.shape[0], picture.shape[1]))
    return torch.lerp(DIMMED * picture.expand(3, -1, -1), glow[:3], glow[3:])


def trace_glow(heatmap: Values, size: tuple[int, int]) -> Tensor:
    """The glow of :func:`trace_overlay` alone, to be laid over the dimmed picture.

    Args:
        heatmap: ``(H, W)``, not negative.
        size: Height and width of the glow.

    Returns:
        ``(4, h, w)``, float32 in [0, 1], on the CPU: red, green, blue and opacity.

    Raises:
        InputError: Heat of another shape, negative or not finite.
    """
    heat = as_values(heatmap)
    shares = _shares(heat, (heat.shape[0], heat.shape[-1]) if heat.ndim else (1, 1))
    if shares.shape != size:
        shares = interpolate(shares[None, None], size, mode="bilinear", antialias=True)[0, 0].clamp(0, 1)
    shades = mpl.colormaps[_HEAT](((shares - _COLDEST) / (1 - _COLDEST)).numpy())
    colored = torch.from_numpy(shades[..., :3]).float().permute(2, 0, 1)
    return torch.cat([colored, _COVERED * shares.sqrt()[None]])


def point_width(width: float, count: int) -> float:
    """How wide the point of a trace is drawn, in the unit of the picture's width.

    Args:
        width: Of the picture.
        count: How many points there are.

    >>> point_width(90, 100), point_width(90, 1600)
    (2.0, 1.0)
    """
    smaller = min(1.0, _MANY / max(1, count))
    return float(width / _ACROSS * smaller**0.25)


def _draw_heat(axes: Axes, heatmap: Tensor, size: tuple[int, int]) -> None:
    shares = _shares(heatmap, size)
    alpha = _COVERED * shares.sqrt().numpy()
    axes.imshow(shares.numpy(), cmap=_HEAT, vmin=_COLDEST, vmax=1, alpha=alpha, interpolation="nearest")


def _shares(heatmap: Tensor, size: tuple[int, int]) -> Tensor:
    """Heat as a share of its maximum, ``(H, W)``; all 0 stays 0."""
    heat = heatmap.float()
    if heat.shape != size or not (heat >= 0).all() or not heat.isfinite().all():
        message = (
            f"Expected a heat map {size} of numbers that are finite and not negative, got {tuple(heat.shape)} from "
            f"{float(heat.min()) if heat.numel() else 0:g}."
        )
        raise InputError(message)
    return heat / heat.max().clamp(min=torch.finfo(heat.dtype).tiny)


def _draw_box(axes: Axes, corners: list[float]) -> None:
    """A white line between two dark ones, to be seen on any picture."""
    x1, y1, x2, y2 = (side - 0.5 for side in corners)
    for color, line in ((INK, 3.4), (_BOX, 1.6)):
        axes.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=color, linewidth=line, clip_on=False, zorder=4)
        )


def _checked(points: Values, height: int, width: int) -> Tensor:
    places = as_values(points)
    if places.ndim != 2 or places.shape[1] != 2:
        message = f"Expected points (y, x), (K, 2), got {tuple(places.shape)}."
        raise InputError(message)
    outside = ~((places >= 0) & (places < torch.tensor([height, width]))).all(dim=1)
    if outside.any():
        first = tuple(places[outside][0].tolist())
        message = f"Expected points (y, x) within the image of {height} x {width} pixels (height x width), got {first}."
        raise InputError(message)
    return places


def _corners(box: Values) -> Tensor:
    corners = as_values(box).double()
    if corners.shape != (4,):
        message = f"Expected a box (x1, y1, x2, y2), got shape {tuple(corners.shape)}."
        raise InputError(message)
    return corners
