"""Files of labelme: one for each picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.drawn_shapes import AnnotatedPicture, Point, Shape, circle, rectangle, require_shape


def is_labelme(content: Any) -> bool:
    """Whether the content of a JSON file looks like labelme's."""
    return isinstance(content, Mapping) and "shapes" in content and "imagePath" in content


def read_labelme(content: Mapping[str, Any], file: str) -> AnnotatedPicture:
    """What a file of labelme says.

    Args:
        content: Of the file.
        file: What it is called.

    Raises:
        SourceError: A part is missing or of another kind, or a shape has no area, as a line or a point.
    """
    try:
        width, height = int(content["imageWidth"]), int(content["imageHeight"])
        shapes = tuple(
            require_shape(_shape(shape, width, height, f"'{file}'"), width, height, f"'{file}'")
            for shape in content["shapes"]
        )
        return AnnotatedPicture(file, str(content["imagePath"]), width, height, shapes)
    except (KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, SourceError):
            raise
        message = (
            f"Expected a whole file of labelme at '{file}', with imagePath, imageWidth, imageHeight and shapes, got "
            f"{type(error).__name__}: {error}."
        )
        raise SourceError(message) from error


def _shape(shape: Mapping[str, Any], width: int, height: int, where: str) -> Shape:
    kind = shape.get("shape_type") or "polygon"
    label = str(shape.get("label") or "")
    points: list[Point] = [(float(x), float(y)) for x, y in shape["points"]]
    if kind == "polygon" or (kind == "rectangle" and len(points) == 4):
        return Shape(label, (tuple(points),))
    if kind in ("rectangle", "circle", "mask") and len(points) == 2:
        if kind == "mask":
            return _painted(label, points, str(shape["mask"]), width, height)
        return Shape(label, ((rectangle if kind == "rectangle" else circle)(*points),))
    message = (
        f"Expected polygons, rectangles, circles or masks in {where}, got {label!r}, a {kind} of {len(points)} points. "
        "Draw what the object covers, or delete it."
    )
    raise SourceError(message)


def _painted(label: str, points: list[Point], mask: str, width: int, height: int) -> Shape:
    """Painted pixels, which labelme keeps as a PNG of the box around them."""
    from PIL import Image  # noqa: PLC0415

    (left, top), (right, bottom) = ((round(x), round(y)) for x, y in points)
    with Image.open(io.BytesIO(base64.b64decode(mask))) as picture:
        # Before it is unpacked, which may take all memory.
        if picture.size != (right - left + 1, bottom - top + 1) or right >= width or bottom >= height:
            message = f"a mask of {picture.size} for the box from ({left}, {top}) to ({right}, {bottom})"
            raise ValueError(message)
        pixels = np.array(picture.convert("L")) > 0
    return Shape(label, pixels=pixels, corner=(left, top))
