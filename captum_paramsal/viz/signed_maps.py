"""Maps with a sign over their picture, all on one colour scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import matplotlib as mpl
import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import Values, as_values, grey

MapScale: TypeAlias = Literal["map", "method", "common"]
"""Which maps share a scale of colours: each has its own, all maps of a method share one, or all maps do."""

SCALE_WORDS: Mapping[MapScale, str] = MappingProxyType(
    {
        "map": "each map on a scale of its own",
        "method": "one scale for each method",
        "common": "one scale for all maps",
    }
)
"""What a caption says of them."""

MAP_COLORS = "RdBu_r"
"""Red for, blue against: with any kind of colour blindness the two ends are told apart."""
_TOP = 0.99
_PALEST = 0.6
_UNKNOWN = 0.72


def map_scale(values: Values) -> float:
    """What counts as full strength in a map: the 99th percentile of its absolute values, without what is not finite.

    A map that is not 0 in fewer pixels than 1 % has its maximum instead, and one of zeros 1.

    >>> map_scale(torch.tensor([[0.0, -2.0], [2.0, float("nan")]])), map_scale(torch.zeros(2, 2))
    (2.0, 1.0)
    """
    known = as_values(values).double().flatten()
    known = known[known.isfinite()].abs().sort().values
    if not len(known) or not known[-1]:
        return 1.0
    return float(known[round(_TOP * (len(known) - 1))]) or float(known[-1])


def map_scales(maps: Sequence[Sequence[Tensor]], scale: MapScale) -> list[list[float]]:
    """What is drawn in full strength in every map, see :func:`map_scale`.

    Args:
        maps: Of N images, by each of M methods, ``(H, W)``.
        scale: Which of them share a scale. Methods have units of their own, so a common one suits maps of one unit,
            such as those of one method with several settings.

    Returns:
        N lists of M numbers.

    Raises:
        InputError: Another scale.

    >>> maps = [[torch.tensor([[1.0]]), torch.tensor([[-8.0]])], [torch.tensor([[3.0]]), torch.tensor([[2.0]])]]
    >>> [map_scales(maps, scale) for scale in ("map", "method", "common")]
    [[[1.0, 8.0], [3.0, 2.0]], [[3.0, 8.0], [3.0, 8.0]], [[8.0, 8.0], [8.0, 8.0]]]
    """
    require_scale(scale)
    if scale == "map":
        return [[map_scale(values) for values in of_image] for of_image in maps]
    by_method = [torch.cat([values.flatten() for values in of_method]) for of_method in zip(*maps, strict=True)]
    if scale == "common":
        return [[map_scale(torch.cat(by_method))] * len(by_method)] * len(maps) if maps else []
    return [[map_scale(values) for values in by_method]] * len(maps)


def require_scale(scale: str) -> None:
    """Make sure that there is such a scale.

    Raises:
        InputError: There is none.
    """
    if scale not in get_args(MapScale):
        known = ", ".join(map(repr, get_args(MapScale)))
        message = f"Expected `scale` to be one of {known}, got {scale!r}."
        raise InputError(message)


def presentable(picture: Values) -> Tensor:
    """A picture in [0, 1] for people, ``(3, H, W)``: as it is, or stretched if it was normalised for a model.

    Args:
        picture: ``(C, H, W)``; other than one or three channels are averaged.

    Raises:
        InputError: Another shape.
    """
    pixels = as_values(picture)
    if pixels.ndim != 3 or 0 in pixels.shape:
        message = f"Expected a picture (C, H, W), got {tuple(pixels.shape)}."
        raise InputError(message)
    shown = pixels.float().nan_to_num()
    if shown.shape[0] not in (1, 3):
        shown = shown.mean(dim=0, keepdim=True)
    low, high = float(shown.min()), float(shown.max())
    if low < 0 or high > 1:
        shown = (shown - low) / (high - low) if high > low else torch.full_like(shown, 0.5)
    return shown.expand(3, -1, -1)


def signed_overlay(picture: Values, values: Values, scale: float | None = None) -> Tensor:
    """A map over a pale grey copy of its picture: red is evidence for, blue against, and the stronger the denser.

    Args:
        picture: ``(C, H, W)``, see :func:`presentable`.
        values: ``(H, W)``. Pixels that are not finite are grey.
        scale: What is drawn in full strength; :func:`map_scale` by default.

    Returns:
        ``(3, H, W)`` float32 in [0, 1].

    Raises:
        InputError: A map of another size.

    >>> signed_overlay(torch.ones(3, 1, 2), torch.tensor([[1.0, 0.0]]))[:, 0, 1]
    tensor([1., 1., 1.])
    """
    shown, signed = presentable(picture), as_values(values)
    if signed.shape != shown.shape[1:]:
        message = f"Expected a map of the picture's size, {tuple(shown.shape[1:])}, got {tuple(signed.shape)}."
        raise InputError(message)
    pale = _PALEST + (1 - _PALEST) * grey(shown)
    known = signed.isfinite()
    full = map_scale(signed) if scale is None else scale
    heights = (signed.double().where(known, 0.0) / full).clamp(-1, 1)
    colours = mpl.colormaps[MAP_COLORS](((heights + 1) / 2).numpy())
    painted = torch.from_numpy(colours[..., :3]).float().permute(2, 0, 1)
    mixed = torch.lerp(pale[None].expand(3, -1, -1), painted, heights.abs().sqrt().float())
    return mixed.where(known, torch.tensor(_UNKNOWN)).clamp(0, 1)
