"""Pixel gradients in the papers' form, alone and over their image."""

from __future__ import annotations

import io

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.image import imread
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import Values, as_values, grey
from captum_paramsal.viz.style import new_axes, styled

_LOWER, _UPPER = 0.90, 0.99
_COLORS, _DARKEST = "inferno", 0.4
"""From purple to yellow it rises evenly in brightness, so it reads the same with any kind of colour blindness."""
DIMMED = 0.5
"""Brightness of the picture below."""


def display_map(gradients: Values) -> Tensor:
    """The papers' display form of a pixel gradient: what stands out, as brightness.

    The signed maximum over the channels, its absolute value, cut off at its 90th and 99th percentile, stretched to
    [0, 1], and smoothed by a 3 x 3 Gaussian. A map whose 99th percentile is no higher than its 90th, since fewer
    pixels than 1 % carry anything, is cut off at its maximum instead; a constant one is 0 everywhere.

    Args:
        gradients: ``(C, H, W)``, or ``(N, C, H, W)`` with a scale of its own for each map.

    Returns:
        ``(H, W)`` or ``(N, H, W)``, float32 in [0, 1], on the CPU.

    Raises:
        InputError: Gradients of another shape, none at all, or not finite.

    References:
        Levin et al., arXiv 2108.01335; percentiles and smoothing as in the authors' program.

    >>> display_map(torch.tensor([[[0.0, 0.0, 0.0], [0.0, -8.0, 0.0], [0.0, 0.0, 0.0]]]))
    tensor([[0.0625, 0.1250, 0.0625],
            [0.1250, 0.2500, 0.1250],
            [0.0625, 0.1250, 0.0625]])
    """
    maps = as_values(gradients).double()
    _require_gradients(maps)
    flat = maps.amax(dim=-3).abs()
    low, high = _cut(flat.flatten(-2))
    stretched = ((flat - low) / torch.where(high > low, high - low, 1.0)).clamp(0, 1)
    return _smoothed(stretched.reshape(-1, 1, *flat.shape[-2:])).reshape(flat.shape).float()


def pixel_overlay(image: Values, gradients: Values) -> Tensor:
    """The pixels that stand out, glowing on a dimmed grey copy of their image.

    Args:
        image: ``(1 or 3, h, w)`` with values in [0, 1]; values outside are cut off.
        gradients: ``(C, H, W)`` of the same picture, in the same or another resolution.

    Returns:
        ``(3, h, w)``, float32 in [0, 1], on the CPU.

    Raises:
        InputError: An image of another shape; or see :func:`display_map`.
    """
    dimmed = DIMMED * grey(image)
    glow = pixel_glow(gradients, (dimmed.shape[0], dimmed.shape[1]))
    return torch.lerp(dimmed[None], glow[:3], glow[3:]).clamp(0, 1)


def pixel_glow(gradients: Values, size: tuple[int, int]) -> Tensor:
    """The glow of :func:`pixel_overlay` alone, to be laid over the dimmed picture.

    Args:
        gradients: ``(C, H, W)``.
        size: Height and width of the glow.

    Returns:
        ``(4, h, w)``, float32 in [0, 1], on the CPU: red, green, blue and opacity.

    Raises:
        InputError: See :func:`display_map`.
    """
    maps = as_values(gradients)
    if maps.ndim != 3:
        message = f"Expected the gradients of one image, (C, H, W), got {tuple(maps.shape)}."
        raise InputError(message)
    heat = display_map(maps)
    if heat.shape != size:
        heat = interpolate(heat[None, None], size, mode="bilinear", antialias=True)[0, 0]
    shades = mpl.colormaps[_COLORS]((_DARKEST + (1 - _DARKEST) * heat).numpy())
    colored = torch.from_numpy(shades[..., :3]).float().permute(2, 0, 1)
    return torch.cat([colored, heat.clamp(min=0).sqrt()[None]])


def pixel_plot(image: Values, gradients: Values, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Draw the pixels that stand out over their image.

    Args:
        image: ``(1 or 3, h, w)`` with values in [0, 1], before any normalisation.
        gradients: ``(C, H, W)``, what ``InputSpaceSaliency`` says of that image.
        ax: Where to draw; by default on a new figure.
        title: Over the picture.

    Returns:
        The axes. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: See :func:`pixel_overlay`.

    >>> image = torch.rand(3, 8, 8)
    >>> ax = pixel_plot(image, image - 0.5)
    >>> ax.images[0].get_array().shape
    (8, 8, 3)
    """
    overlay = pixel_overlay(image, gradients).permute(1, 2, 0).numpy()
    with styled():
        axes = new_axes(3.6, 3.6 * overlay.shape[0] / overlay.shape[1]) if ax is None else ax
        axes.imshow(overlay, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(title)
    return axes


def decoded(picture: bytes, mime: str) -> Tensor:
    """Pixels of an encoded picture, ``(1 or 3, H, W)`` float32 in [0, 1].

    >>> axes = pixel_plot(torch.zeros(3, 4, 4), torch.zeros(3, 4, 4))
    >>> from captum_paramsal.viz import to_png
    >>> decoded(to_png(axes, dpi=10), "image/png").shape[0]
    3
    """
    pixels = torch.from_numpy(imread(io.BytesIO(picture), format=mime.removeprefix("image/")).copy())
    # Matplotlib returns the bytes of a JPEG as they are, and those of a PNG divided by 255.
    pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
    return pixels[None] if pixels.ndim == 2 else pixels[..., :3].permute(2, 0, 1)


def _cut(values: Tensor) -> tuple[Tensor, Tensor]:
    """Lower and upper end of what is shown of maps ``(..., P)``, each ``(..., 1, 1)``."""
    ordered = values.sort(dim=-1).values
    low, high = (_quantile(ordered, share)[..., None, None] for share in (_LOWER, _UPPER))
    return low, torch.where(high > low, high, ordered[..., -1, None, None])


def _quantile(ordered: Tensor, share: float) -> Tensor:
    """Linear between neighbours, as ``torch.quantile``, which takes no more than 16 million values."""
    place = share * (ordered.shape[-1] - 1)
    below, part = int(place), place % 1
    above = min(below + 1, ordered.shape[-1] - 1)
    return torch.lerp(ordered[..., below], ordered[..., above], part)


def _smoothed(maps: Tensor) -> Tensor:
    binomial = torch.tensor([0.25, 0.5, 0.25], dtype=maps.dtype)
    kernel = torch.outer(binomial, binomial)[None, None]
    return conv2d(pad(maps, (1, 1, 1, 1), mode="replicate"), kernel).clamp(0, 1)


def _require_gradients(gradients: Tensor) -> None:
    if gradients.ndim not in (3, 4) or 0 in gradients.shape:
        message = f"Expected gradients (C, H, W) or (N, C, H, W), got {tuple(gradients.shape)}."
        raise InputError(message)
    if not gradients.isfinite().all():
        bad = int((~gradients.isfinite()).sum())
        message = f"Expected finite gradients, got NaN or infinity in {bad} of {gradients.numel()} places."
        raise InputError(message)
