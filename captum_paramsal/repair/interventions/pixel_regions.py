"""Which pixels of an image are meant: the most salient of a map, a box, or a mask; and as many elsewhere."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from captum_paramsal.batch import Given
from captum_paramsal.errors import InputError, InterventionError
from captum_paramsal.functional import tensor_of
from captum_paramsal.metrics import Boxes, boxes_per_image, covered

Which: TypeAlias = Literal["salient", "least", "random"]


def chosen_pixels(
    images: Tensor,
    maps: Given | None,
    boxes: Boxes | None,
    masks: Given | None,
    *,
    share: float = 0.05,
    which: Which = "salient",
    seed: int = 0,
) -> Tensor:
    """Pixels of each image, ``(N, H, W)`` bool, by the one of three that is given.

    Args:
        images: ``(N, C, H, W)``.
        maps: See :func:`pixel_mask`.
        boxes: ``(4,)`` for all images, ``(N, 4)``, or N tensors ``(B, 4)``.
        masks: ``(H, W)`` for all images or ``(N, H, W)``, bool.
        share: Of the pixels, by ``maps``.
        which: Of the pixels; of a region the region itself, or equally many ``"random"`` pixels.
        seed: Of the random pixels.

    Raises:
        InterventionError: None or several are given, or an option is out of its range.
        InputError: What is given does not fit the images.
    """
    given = {"maps": maps, "boxes": boxes, "masks": masks}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        message = f"Expected one of `maps`, `boxes` and `masks`, got {' and '.join(names) or 'none'}."
        raise InterventionError(message)
    if maps is not None:
        return pixel_mask(maps, images, share, which, seed).to(images.device)
    region = _in_boxes(tensor_of(boxes), images) if boxes is not None else _in_masks(tensor_of(masks), images)
    if which == "salient":
        return region.to(images.device)
    if which != "random":
        message = f"Expected `which` to be 'salient' (the region) or 'random' with {names[0]}, got {which!r}."
        raise InterventionError(message)
    order = _random_order((len(region), region[0].numel()), seed)
    # A pixel's place in the random order, below the size of its image's region: exactly as many.
    ranks = order.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    return (ranks < region.flatten(1).sum(dim=1, keepdim=True)).view_as(region).to(images.device)


def pixel_mask(maps: Given, images: Tensor, share: float = 0.05, which: Which = "salient", seed: int = 0) -> Tensor:
    """A share of the pixels by a map, ``(N, H, W)`` bool; see :func:`captum_paramsal.repair.mask_pixels`."""
    values = map_values(maps, images)
    size = values.shape
    if not 0 < share <= 1:
        message = f"Expected `share` in (0, 1], got {share}."
        raise InterventionError(message)
    if which not in ("salient", "least", "random"):
        message = f"Expected `which` to be 'salient', 'least' or 'random', got {which!r}."
        raise InterventionError(message)
    order = values.abs().flatten(1)
    if which == "random":
        order = _random_order((len(order), order.shape[1]), seed).to(order.device)
    count = max(1, round(share * order.shape[1]))
    chosen = order.sort(dim=1, descending=which != "least", stable=True).indices[:, :count]
    return torch.zeros_like(order, dtype=torch.bool).scatter(1, chosen, value=True).view(size)


def map_values(maps: Given, images: Tensor) -> Tensor:
    """Maps of images ``(N, C, H, W)``, the signed sum over their channels, ``(N, H, W)``.

    Raises:
        InputError: Maps of another size, or values that are not finite.
    """
    size = (len(images), *images.shape[2:])
    values: Tensor = tensor_of(maps).detach()
    values = values[None] if len(images) == 1 and values.shape in (images.shape[1:], images.shape[2:]) else values
    values = values.sum(dim=1) if values.ndim == 4 else values
    if values.shape != size:
        message = f"Expected `maps` of size {size}, with channels or without, got {tuple(maps.shape)}."
        raise InputError(message)
    if not bool(values.isfinite().all()):
        message = "Expected finite `maps`, got some values that are not."
        raise InputError(message)
    return values


def moved(region: Tensor, generator: torch.Generator) -> Tensor:
    """A region ``(H, W)`` bool at a random place, with as many pixels.

    It lies within the image; along a side of which it takes more than half, it goes on at the opposite edge instead,
    since it could hardly move otherwise.
    """
    shifts = []
    for axis in (0, 1):
        used = region.any(dim=1 - axis).nonzero()[:, 0]
        first, extent, side = int(used[0]), int(used[-1] - used[0]) + 1, region.shape[axis]
        choices = side if 2 * extent > side else side - extent + 1
        shifts.append(int(torch.randint(choices, (1,), generator=generator)) - first)
    return region.roll(shifts, dims=(0, 1))


def _random_order(shape: tuple[int, int], seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _in_boxes(boxes: Boxes, images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    if isinstance(boxes, Tensor) and boxes.ndim == 1:
        boxes = boxes.expand(len(images), -1)
    return covered(boxes_per_image(boxes, len(images), (height, width)), (height, width))


def _in_masks(masks: Tensor | None, images: Tensor) -> Tensor:
    count, size = len(images), tuple(images.shape[2:])
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool:
        got = masks.dtype if isinstance(masks, Tensor) else type(masks).__name__
        message = f"Expected `masks` of bool, got {got}. A mask of numbers is compared first, as in `mask > 0`."
        raise InputError(message)
    if tuple(masks.shape) not in (size, (count, *size)):
        message = f"Expected `masks` of shape {size} or {(count, *size)}, got {tuple(masks.shape)}."
        raise InputError(message)
    regions = masks.detach().cpu().expand(count, *size)
    empty = (~regions.flatten(1).any(dim=1)).nonzero()
    if len(empty):
        message = f"Expected at least one pixel in each mask, got none for image {int(empty[0])}."
        raise InputError(message)
    return regions
