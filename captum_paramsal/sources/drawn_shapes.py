"""Shapes that people drew on a picture, and the pixels that they cover as the model sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_paramsal.errors import SourceError
from captum_paramsal.metrics.polygons import filled
from captum_paramsal.sources.preprocessing import Preprocessing

Point = tuple[float, float]
_CORNERS = 64
"""Of the polygon that stands for a circle: less than a pixel off it up to a radius of 800 pixels."""


@dataclass(frozen=True, eq=False)
class Shape:
    """One shape.

    Attributes:
        label: What the annotator called it; empty where it has no name.
        polygons: Outlines, points (x, y) in pixels of the upright picture.
        pixels: ``(h, w)`` bool, painted pixels, where there is no outline.
        corner: Of the painted pixels, left and top.
    """

    label: str
    polygons: tuple[tuple[Point, ...], ...] = ()
    pixels: NDArray[np.bool_] | None = None
    corner: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class AnnotatedPicture:
    """What a file says about one picture.

    Attributes:
        file: Path of that file, relative to its folder.
        picture: What the picture is called there.
        width: Of the picture in pixels, as the file has it.
        height: Likewise.
        shapes: What was drawn on it; none where it is not annotated.
    """

    file: str
    picture: str
    width: int
    height: int
    shapes: tuple[Shape, ...]

    def mask(self) -> NDArray[np.bool_]:
        """Pixels that the shapes cover together, ``(height, width)``."""
        size = (self.height, self.width)
        mask: NDArray[np.bool_] = filled([polygon for shape in self.shapes for polygon in shape.polygons], size).numpy()
        for shape in self.shapes:
            if shape.pixels is not None:
                left, top = shape.corner
                height, width = shape.pixels.shape
                mask[top : top + height, left : left + width] |= shape.pixels
        return mask


def require_shape(shape: Shape, width: int, height: int, where: str) -> Shape:
    """Refuse a shape that is none, or that lies outside of its picture.

    Raises:
        SourceError: Fewer than three points, a number that is none, or no pixel within the picture.
    """
    for polygon in shape.polygons:
        if len(polygon) < 3 or not all(math.isfinite(value) for point in polygon for value in point):
            message = f"Expected a polygon of three points or more in {where}, got {_shown(polygon)}."
            raise SourceError(message)
        xs, ys = zip(*polygon, strict=True)
        if max(xs) < 0 or max(ys) < 0 or min(xs) >= width or min(ys) >= height:
            message = (
                f"Expected shapes within the {width} x {height} pixels (width x height) of the picture in {where}, "
                f"got {_shown(polygon)}."
            )
            raise SourceError(message)
    if shape.pixels is not None:
        (left, top), (high, wide) = shape.corner, shape.pixels.shape
        if left < 0 or top < 0 or left + wide > width or top + high > height or not shape.pixels.any():
            message = (
                f"Expected painted pixels within the {width} x {height} pixels (width x height) of the picture in "
                f"{where}, got {int(shape.pixels.sum())} in {wide} x {high} from ({left}, {top}) on."
            )
            raise SourceError(message)
    return shape


def circle(centre: Point, edge: Point) -> tuple[Point, ...]:
    """The outline of a circle, from its centre and a point on it."""
    radius = math.dist(centre, edge)
    turns = (2 * math.pi * corner / _CORNERS for corner in range(_CORNERS))
    return tuple((centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn)) for turn in turns)


def rectangle(first: Point, second: Point) -> tuple[Point, ...]:
    """The outline of a rectangle, from two opposite corners."""
    (x1, y1), (x2, y2) = first, second
    return (x1, y1), (x2, y1), (x2, y2), (x1, y2)


def mask_as_seen(mask: NDArray[np.bool_], preprocessing: Preprocessing) -> Tensor | None:
    """A mask of an upright photo, brought through its preparation.

    Args:
        mask: ``(height, width)`` of the photo.
        preprocessing: What becomes of the photo.

    Returns:
        ``(image_size, image_size)`` bool: pixels that a pixel of the mask comes to lie in; None where that is none.
    """
    from PIL import Image  # noqa: PLC0415

    height, width = mask.shape
    place, side = preprocessing.placement(width, height), preprocessing.image_size
    drawn = Image.fromarray(mask.astype(np.uint8) * 255)
    resized = drawn.resize((place.width, place.height), Image.Resampling.BOX)
    cut = resized.crop((place.left, place.top, place.left + side, place.top + side))
    seen = torch.from_numpy(np.array(cut) > 0)
    return seen if seen.any() else None


def _shown(polygon: Sequence[Point]) -> str:
    points = ", ".join(f"({x:g}, {y:g})" for x, y in polygon[:4])
    return f"{len(polygon)} points: {points}" + (", ..." if len(polygon) > 4 else "")
