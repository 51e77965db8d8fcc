"""Where the object lies: boxes as a table gives them, and as the model sees them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from scipy.ndimage import find_objects, label
from torch import Tensor

from captum_paramsal.errors import InputError, SourceError
from captum_paramsal.metrics.boxes import boxes_per_image, covered
from captum_paramsal.sources.preprocessing import Preprocessing

if TYPE_CHECKING:
    from PIL import Image

Box: TypeAlias = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the photo as it lies in the file, before it is turned upright."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: (True, False, False),
    3: (True, True, False),
    4: (False, True, False),
    5: (False, False, True),
    6: (False, True, True),
    7: (True, True, True),
    8: (True, False, True),
}
"""How a camera's orientation tag is obeyed: mirrored from left to right, from top to bottom, then x and y swapped."""


def parse_boxes(text: str) -> tuple[Box, ...]:
    """Boxes from one cell of a table: four numbers each, by spaces or commas, several boxes separated by ``;``.

    Raises:
        SourceError: Something else.

    >>> parse_boxes("1 2 30 40; 5,6,7.5,8")
    ((1.0, 2.0, 30.0, 40.0), (5.0, 6.0, 7.5, 8.0))
    >>> parse_boxes("")
    ()
    """
    return tuple(_parse_box(part) for part in text.split(";") if part.strip())


def boxes_as_seen(boxes: Sequence[Box], photo: Image.Image, preprocessing: Preprocessing, name: str) -> Tensor:
    """Boxes brought through the preparation of their photo, cut off at the edges of what the model sees.

    Args:
        boxes: In pixels of the photo as it lies in the file, at least one.
        photo: As it was opened.
        preprocessing: What becomes of it.
        name: Of the file.

    Returns:
        ``(B, 4)`` float64 in pixels of what the model sees, without boxes that lie outside of it.

    Raises:
        SourceError: Boxes that do not lie within the photo.
    """
    width, height = photo.size
    corners = _within(boxes, width, height, name)
    mirrored, flipped, swapped = _UPRIGHT.get(photo.getexif().get(_ORIENTATION, 1), (False, False, False))
    x, y = corners[:, [0, 2]], corners[:, [1, 3]]
    x, y = width - x if mirrored else x, height - y if flipped else y
    if swapped:
        x, y, width, height = y, x, height, width
    place = preprocessing.placement(width, height)
    x = (x * (place.width / width) - place.left).sort(dim=1).values.clamp(0, preprocessing.image_size)
    y = (y * (place.height / height) - place.top).sort(dim=1).values.clamp(0, preprocessing.image_size)
    seen = torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1)
    return seen[(seen[:, :2] < seen[:, 2:]).all(dim=1)]


def upright_size(photo: Image.Image) -> tuple[int, int]:
    """Width and height of a photo once it is turned upright, without unpacking it."""
    width, height = photo.size
    swapped = _UPRIGHT.get(photo.getexif().get(_ORIENTATION, 1), (False, False, False))[2]
    return (height, width) if swapped else (width, height)


def mask_of(boxes: Tensor, size: tuple[int, int]) -> Tensor | None:
    """Pixels that boxes ``(B, 4)`` touch, ``(H, W)`` bool; None for no box.

    Raises:
        InputError: Boxes that are none, or lie outside of the image.
    """
    return covered([boxes], size)[0] if len(boxes) else None


def boxes_of(mask: Tensor) -> Tensor | None:
    """The box around each part of a mask ``(H, W)`` that hangs together, ``(B, 4)``; None for an empty one.

    >>> boxes_of(torch.tensor([[True, True, False], [True, False, False], [False, False, True]]))
    tensor([[0., 0., 2., 2.],
            [2., 2., 3., 3.]], dtype=torch.float64)
    """
    parts = find_objects(label(mask.numpy())[0])
    boxes = [[across.start, down.start, across.stop, down.stop] for down, across in parts]
    return torch.tensor(boxes, dtype=torch.float64) if boxes else None


def _parse_box(text: str) -> Box:
    try:
        x1, y1, x2, y2 = (float(number) for number in re.split(r"\s*,\s*|\s+", text.strip()))
    except ValueError as error:
        message = f"Expected boxes as `x1 y1 x2 y2`, several separated by `;`, got {text.strip()!r}."
        raise SourceError(message) from error
    box = (x1, y1, x2, y2)
    if not (x1 < x2 and y1 < y2 and all(map(math.isfinite, box))):
        message = f"Expected a box x1 y1 x2 y2 with x1 < x2 and y1 < y2, got {text.strip()!r}."
        raise SourceError(message)
    return box


def _within(boxes: Sequence[Box], width: int, height: int, name: str) -> Tensor:
    try:
        return boxes_per_image([torch.tensor(boxes, dtype=torch.float64)], 1, (height, width))[0]
    except InputError as error:
        message = (
            f"Expected boxes of '{name}' within its {width} x {height} pixels (width x height), got "
            f"{'; '.join(' '.join(f'{side:g}' for side in box) for box in boxes)}. Boxes are counted in pixels of the "
            "photo as it lies in the file."
        )
        raise SourceError(message) from error
