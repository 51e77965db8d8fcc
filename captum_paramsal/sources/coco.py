"""Files of COCO: one for all pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.drawn_shapes import AnnotatedPicture, Shape, rectangle, require_shape


def is_coco(content: Any) -> bool:
    """Whether the content of a JSON file looks like COCO's."""
    return isinstance(content, Mapping) and "images" in content and "annotations" in content


def read_coco(content: Mapping[str, Any], file: str) -> list[AnnotatedPicture]:
    """What a file of COCO says: its pictures, with their segments, or their boxes where there is no segment.

    Args:
        content: Of the file.
        file: What it is called.

    Raises:
        SourceError: A part is missing or of another kind; run-length coded masks where pycocotools is not installed.
    """
    try:
        names = {entry["id"]: str(entry["name"]) for entry in content.get("categories") or ()}
        images = {image["id"]: image for image in content["images"]}
        shapes: dict[Any, list[Shape]] = {number: [] for number in images}
        for annotation in content["annotations"]:
            number = annotation["image_id"]
            image, where = images[number], f"'{file}', annotation {annotation.get('id')}"
            width, height = int(image["width"]), int(image["height"])
            shape = _shape(annotation, names.get(annotation.get("category_id"), ""), (height, width), where)
            shapes[number].append(require_shape(shape, width, height, where))
        return [
            AnnotatedPicture(
                file, str(image["file_name"]), int(image["width"]), int(image["height"]), tuple(shapes[number])
            )
            for number, image in images.items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, SourceError):
            raise
        message = (
            f"Expected a whole file of COCO at '{file}', with images (id, file_name, width, height) and annotations "
            f"(image_id, segmentation), got {type(error).__name__}: {error}."
        )
        raise SourceError(message) from error


def _shape(annotation: Mapping[str, Any], label: str, size: tuple[int, int], where: str) -> Shape:
    segments = annotation.get("segmentation")
    if isinstance(segments, Mapping):
        return Shape(label, pixels=_run_lengths(segments, size, where))
    if segments:
        return Shape(label, tuple(_points(flat, where) for flat in segments))
    x, y, width, height = map(float, annotation["bbox"])
    return Shape(label, (rectangle((x, y), (x + width, y + height)),))


def _points(flat: Sequence[float], where: str) -> tuple[tuple[float, float], ...]:
    """A polygon, which COCO writes as x1, y1, x2, y2, ..."""
    if len(flat) % 2:
        message = f"Expected polygons as x1, y1, x2, y2, ... in {where}, got {len(flat)} numbers."
        raise SourceError(message)
    numbers = [float(value) for value in flat]
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _run_lengths(segments: Mapping[str, Any], size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """A mask from its run lengths."""
    coded: Any = dict(segments)
    if tuple(coded["size"]) != size:
        message = f"Expected a mask of {size} (height, width) in {where}, got {tuple(coded['size'])}."
        raise SourceError(message)
    try:
        from pycocotools import mask as run_lengths  # noqa: PLC0415
    except ImportError as error:
        message = (
            f"Expected polygons in {where}, got a run-length coded mask, which needs pycocotools: "
            '`pip install "captum-paramsal[coco]"`, or export polygons.'
        )
        raise SourceError(message) from error
    if isinstance(coded["counts"], list):
        coded = run_lengths.frPyObjects(coded, *size)
    painted: NDArray[np.bool_] = np.asarray(run_lengths.decode(coded)).astype(bool)
    return painted
