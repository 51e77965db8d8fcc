"""Boxes ``(x1, y1, x2, y2)`` in pixels, x1 and y1 inclusive, x2 and y2 exclusive: overlap, area, distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.functional import tensor_of

Boxes: TypeAlias = Tensor | Sequence[Tensor]
"""Boxes of N images: ``(N, 4)``, one each, or N tensors ``(B_i, 4)`` with at least one box."""

_ROUNDING = 1.0
"""Pixels that a box may stand out of its image, from being scaled or counted from 1; it is cut off there."""


def iou(boxes: Tensor, truth: Boxes) -> Tensor:
    """Intersection over union of one box per image with the ground truth: the largest over the image's boxes.

    Args:
        boxes: Found boxes, ``(N, 4)``; a row of NaN is no box.
        truth: Ground truth of each image, as areas, not as whole pixels.

    Returns:
        ``(N,)`` float64 in [0, 1]; 0 where there is no box.

    Raises:
        InputError: Not one box per image, no ground truth for one, or a box that is none.

    >>> found = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 4]])
    >>> iou(found, [torch.tensor([[2, 0, 6, 4], [9, 9, 10, 10]]), torch.tensor([[0, 0, 4, 3]])])
    tensor([0.3333, 0.7500], dtype=torch.float64)
    """
    predicted = torch.cat(boxes_per_image(boxes, len(boxes), may_be_empty=True))
    if len(predicted) != len(boxes):
        message = f"Expected one found box per image, ({len(boxes)}, 4), got {len(predicted)} boxes."
        raise InputError(message)
    known = boxes_per_image(truth, len(predicted))
    image = _image_of(known)
    first, second = predicted[image], torch.cat(known)
    sides = torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])
    shared = sides.clamp(min=0).prod(dim=1)
    overlap = shared / (_areas(first) + _areas(second) - shared)
    return torch.zeros(len(predicted), dtype=torch.float64).scatter_reduce(0, image, overlap.nan_to_num(), "amax")


def area_share(boxes: Boxes, size: tuple[int, int], *, tolerance: float = 0.0) -> Tensor:
    """Share of an image's pixels that its boxes cover together.

    This is how often a pixel drawn at random would hit in the pointing game.

    Args:
        boxes: One or more per image; a row of NaN covers nothing.
        size: Height and width of the images in pixels.
        tolerance: Pixels no further than this from a box count too.

    Returns:
        ``(N,)`` float64 in [0, 1].

    Raises:
        InputError: A box that is none or lies outside the image, or a tolerance below 0.

    >>> area_share([torch.tensor([[0, 0, 4, 2], [2, 0, 6, 2]])], (4, 6))
    tensor([0.5000], dtype=torch.float64)
    """
    checked = boxes_per_image(boxes, len(boxes), size, may_be_empty=True)
    require_tolerance(tolerance)
    return torch.stack([_near(one, size, tolerance).double().mean() for one in checked])


def has_small_boxes(boxes: Boxes, size: tuple[int, int], share: float = 1 / 3) -> Tensor:
    """Images whose boxes cover less than a share of their pixels, together.

    Args:
        boxes: Ground truth of each image.
        size: Height and width of the images in pixels.
        share: In (0, 1].

    Returns:
        ``(N,)`` bool.

    Raises:
        InputError: Another share, no ground truth for an image, or boxes that do not lie within it.

    >>> has_small_boxes(torch.tensor([[0, 0, 2, 2], [0, 0, 4, 4]]), (6, 6))
    tensor([ True, False])
    """
    if not 0 < share <= 1:
        message = f"Expected a `share` of the image above 0, up to 1, got {share}."
        raise InputError(message)
    return area_share(boxes, size) < share


def covered(boxes: Boxes, size: tuple[int, int]) -> Tensor:
    """Pixels that boxes cover; one that a box only touches belongs to it.

    Args:
        boxes: One or more per image; a row of NaN covers nothing.
        size: Height and width of the images in pixels.

    Returns:
        ``(N, H, W)`` bool.

    Raises:
        InputError: A box that is none or lies outside the image.

    >>> covered(torch.tensor([[1.0, 0.0, 2.5, 1.0]]), (2, 4)).int()
    tensor([[[0, 1, 1, 0],
             [0, 0, 0, 0]]], dtype=torch.int32)
    """
    return torch.stack([_near(one, size) for one in boxes_per_image(boxes, len(boxes), size, may_be_empty=True)])


def distance_to(boxes: Sequence[Tensor], points: Tensor) -> Tensor:
    """Distance from a pixel of each image to the nearest pixel of its boxes, in pixels; 0 within a box.

    Args:
        boxes: From :func:`boxes_per_image`.
        points: y and x of one pixel per image, ``(N, 2)``.

    Returns:
        ``(N,)`` float64.
    """
    image = _image_of(boxes)
    y, x = points.double()[image].unbind(dim=1)
    flat = torch.cat([*boxes])
    far = torch.hypot(_gap(flat[:, 1], flat[:, 3], y), _gap(flat[:, 0], flat[:, 2], x))
    return torch.full((len(points),), torch.inf, dtype=torch.float64).scatter_reduce(0, image, far, "amin")


def boxes_per_image(
    boxes: Boxes, count: int, size: tuple[int, int] | None = None, *, may_be_empty: bool = False
) -> tuple[Tensor, ...]:
    """Check boxes, and bring them into one form.

    Args:
        boxes: As a caller gives them, arrays of numpy too; for one image ``(4,)`` will do.
        count: How many images there are.
        size: Height and width of the images in pixels, if the boxes have to lie within them.
        may_be_empty: Whether a row of NaN may stand for no box.

    Returns:
        N tensors ``(B_i, 4)``, float64 on the CPU, cut off at the edges of the image.

    Raises:
        InputError: No boxes for an image, boxes of another shape, inside out, not finite, or outside the image.
    """
    boxes = tensor_of(boxes)
    if count == 1 and isinstance(boxes, Tensor) and boxes.shape == (4,):
        boxes = boxes[None]
    if len(boxes) != count or not count:
        message = f"Expected boxes for each image ({count}, at least 1), got those of {len(boxes)}."
        raise InputError(message)
    checked = []
    for image, given in enumerate(boxes):
        rows = torch.as_tensor(tensor_of(given)).detach().cpu().double()
        rows = rows[None] if rows.ndim == 1 else rows
        if rows.ndim != 2 or rows.shape[1] != 4 or not len(rows):
            message = f"Expected boxes (B, 4) with B of at least 1, got {tuple(rows.shape)} for image {image}."
            raise InputError(message)
        _require_boxes(rows, image, size, may_be_empty=may_be_empty)
        checked.append(rows if size is None else _cut_off(rows, size))
    return tuple(checked)


def _require_boxes(rows: Tensor, image: int, size: tuple[int, int] | None, *, may_be_empty: bool) -> None:
    right = rows.isfinite().all(dim=1) & (rows[:, :2] < rows[:, 2:]).all(dim=1)
    if may_be_empty:
        right |= rows.isnan().all(dim=1)
    if not right.all():
        message = f"Expected boxes (x1, y1, x2, y2) with x1 < x2 and y1 < y2, got {_first(rows, ~right)} {image}."
        raise InputError(message)
    if size is None:
        return
    cut = _cut_off(rows, size)
    outside = ((rows - cut).abs() >= _ROUNDING).any(dim=1) | (cut[:, :2] >= cut[:, 2:]).any(dim=1)
    if outside.any():
        message = (
            f"Expected boxes within the image of {size[0]} x {size[1]} pixels (height x width), got "
            f"{_first(rows, outside)} {image}. Scale the boxes as the image was scaled."
        )
        raise InputError(message)


def _first(rows: Tensor, bad: Tensor) -> str:
    return "(" + ", ".join(f"{side:g}" for side in rows[bad][0].tolist()) + ") for image"


def _cut_off(rows: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    edges = torch.tensor([width, height, width, height], dtype=torch.float64)
    return torch.minimum(rows.clamp(min=0), edges)


def require_tolerance(tolerance: float) -> None:
    """Refuse a tolerance that is no distance."""
    if not 0 <= tolerance < torch.inf:
        message = f"Expected a `tolerance` of 0 or more pixels, got {tolerance}."
        raise InputError(message)


def _near(rows: Tensor, size: tuple[int, int], tolerance: float = 0.0) -> Tensor:
    """Pixels ``(H, W)`` no further than the tolerance from one of the boxes ``(B, 4)``; none is near a row of NaN."""
    y, x = (torch.arange(side, dtype=torch.float64) for side in size)
    x1, y1, x2, y2 = rows[..., None].unbind(dim=1)
    down, right = _gap(y1, y2, y), _gap(x1, x2, x)
    return (torch.hypot(down[:, :, None], right[:, None, :]) <= tolerance).any(dim=0)


def _gap(low: Tensor, high: Tensor, place: Tensor) -> Tensor:
    """Pixels from a place to the nearest one that ``[low, high)`` touches, along one axis."""
    return torch.maximum(low.floor() - place, place - (high.ceil() - 1)).clamp(min=0)


def _image_of(boxes: Sequence[Tensor]) -> Tensor:
    """Which image each of all boxes belongs to, ``(sum of B_i,)``."""
    counts = torch.tensor([len(rows) for rows in boxes])
    return torch.arange(len(boxes)).repeat_interleave(counts)


def _areas(rows: Tensor) -> Tensor:
    return (rows[:, 2:] - rows[:, :2]).prod(dim=1)
