"""What is foreground in images whose objects are roughly marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from captum_paramsal.errors import InputError
from captum_paramsal.metrics.boxes import covered
from captum_paramsal.metrics.polygons import filled

PAPER_MARGIN, PAPER_SIZE = 30, 224
"""Pixels that the paper expands its annotations by, and the size of its images."""


def foreground(
    size: tuple[int, int],
    *,
    boxes: Sequence[Any] | Tensor | None = None,
    polygons: Sequence[Any] | None = None,
    masks: Sequence[Any] | Tensor | None = None,
    margin: int | None = None,
) -> Tensor:
    """Foreground of N images from boxes, rough polygons or masks, expanded by a margin.

    Annotations for a treatment need not be exact: the margin keeps the outline of the object in the foreground.

    Args:
        size: Height and width of the images in pixels.
        boxes: For each image ``(B, 4)`` boxes (x1, y1, x2, y2) in pixels, x1 and y1 inclusive, x2 and y2 exclusive.
        polygons: For each image a list of polygons, each a list of points (x, y) in pixels.
        masks: For each image ``(H, W)``, not 0 where the object is.
        margin: Pixels to expand by, to all sides and into the corners; 30 at 224 pixels where None, and as much of
            other sizes.

    Returns:
        ``(N, H, W)`` float32, 1 in the foreground, 0 in the background; 1 everywhere for an image whose annotation is
        None or an empty list.

    Raises:
        InputError: There is not exactly one kind of annotation, or an annotation lies outside of its image or has
            another shape.

    >>> foreground((3, 6), boxes=[[[0, 0, 1, 1]], None], margin=1)[:, :2].int().tolist()
    [[[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]], [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]]]
    """
    kinds = {"boxes": (boxes, _of_boxes), "polygons": (polygons, _of_polygons), "masks": (masks, _of_mask)}
    given = [(name, images, draw) for name, (images, draw) in kinds.items() if images is not None]
    if len(given) != 1:
        message = f"Expected exactly one of `boxes`, `polygons` and `masks`, got {len(given)}."
        raise InputError(message)
    width = round(PAPER_MARGIN * min(size) / PAPER_SIZE) if margin is None else margin
    if not isinstance(width, int) or width < 0:
        message = f"Expected `margin` to be a whole number of pixels from 0 on, got {margin!r}."
        raise InputError(message)
    _, images, draw = given[0]
    if not len(images):
        message = f"Expected `{given[0][0]}` of at least one image, got none."
        raise InputError(message)
    return torch.stack(
        [
            torch.ones(size) if shown is None or not len(shown) else _expanded(draw(shown, size, number), width)
            for number, shown in enumerate(images)
        ]
    )


def _expanded(mask: Tensor, margin: int) -> Tensor:
    """A mask (H, W) with a margin; rows and columns one after the other, which is the square at once."""
    window = 2 * margin + 1
    rows = max_pool2d(mask.float()[None, None], (window, 1), 1, (margin, 0))
    return max_pool2d(rows, (1, window), 1, (0, margin))[0, 0]


def _of_boxes(boxes: Any, size: tuple[int, int], number: int) -> Tensor:
    try:
        return covered([torch.as_tensor(boxes)], size)[0]
    except InputError as error:
        message = f"Boxes of image {number}: {error}"
        raise InputError(message) from error


def _of_polygons(polygons: Any, size: tuple[int, int], number: int) -> Tensor:
    height, width = size
    try:
        mask = filled(polygons, size)
    except InputError as error:
        message = f"{error} for image {number}."
        raise InputError(message) from error
    if not mask.any():
        message = (
            f"Expected polygons within the image of {height} x {width} pixels, got ones outside for image {number}."
        )
        raise InputError(message)
    return mask


def _of_mask(mask: Any, size: tuple[int, int], number: int) -> Tensor:
    values = torch.as_tensor(mask)
    if values.shape != size:
        message = f"Expected masks of the images' size {size}, got {tuple(values.shape)} for image {number}."
        raise InputError(message)
    return values != 0
