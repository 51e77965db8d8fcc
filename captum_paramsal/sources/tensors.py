"""Labelled images that are already in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_paramsal.errors import InputError, SourceError, TargetError
from captum_paramsal.functional import Target, labels_of, tensor_of
from captum_paramsal.hooks import as_tensor
from captum_paramsal.metrics.boxes import boxes_per_image
from captum_paramsal.sources.boxes import boxes_of, mask_of
from captum_paramsal.sources.pictures import Picture, drawn_of, encode
from captum_paramsal.sources.source import Item, Skipped, SourceBatch

if TYPE_CHECKING:
    from PIL import Image


class LabelledTensors:
    """Images in one tensor, as an ``ImageSource`` for reports.

    Args:
        images: ``(N, C, H, W)``; with one or three channels and values in [0, 1] they are shown as they are. One
            ``(C, H, W)`` with its label and arrays of numpy are taken too, floating point as torch's default type.
        labels: ``(N,)`` class numbers, a tensor, an array or a list.
        prepare: Makes of images what the model takes, such as a normalisation; by default nothing.
        names: One per image; "image 0", "image 1", ... by default.
        notes: A remark on each image, shown beside it.
        masks: ``(N, H, W)`` bool, pixels of each image's object; or one ``(H, W)`` for each image in a list, None where
            it is not annotated.
        boxes: In place of masks, the boxes ``(B, 4)`` of each image's object: x1, y1, x2, y2 in pixels; no row, or
            one of NaN, where it is not annotated.

    Raises:
        SourceError: Another number of labels, names, notes, masks or boxes than images, or no image at all; masks of
            another size, boxes outside of their image, or both masks and boxes.
    """

    def __init__(
        self,
        images: Tensor | NDArray[Any],
        labels: Target,
        prepare: Callable[[Tensor], Tensor] | None = None,
        *,
        names: Sequence[str] | None = None,
        notes: Sequence[str] | None = None,
        masks: Tensor | NDArray[Any] | Sequence[Tensor | None] | None = None,
        boxes: Sequence[Tensor] | None = None,
    ) -> None:
        pixels: Tensor = as_tensor(images, None)
        known: Tensor | list[Tensor | None] | None = _masks(masks)
        classes = _classes(labels)
        if pixels.ndim == 3 and len(classes) == 1:
            pixels = pixels[None]
            known = known[None] if isinstance(known, Tensor) and known.ndim == 2 else known
        count = len(pixels)
        names = [f"image {i}" for i in range(count)] if names is None else names
        notes = [""] * count if notes is None else notes
        if count == 0 or {len(classes), len(names), len(notes)} != {count}:
            message = (
                "Expected at least one image, and as many labels, names and notes as images, "
                f"got {count} images, {len(classes)} labels, {len(names)} names, {len(notes)} notes."
            )
            raise SourceError(message)
        self._images = pixels
        if masks is not None and boxes is not None:
            message = "Expected masks or boxes, got both."
            raise SourceError(message)
        _require_masks(known, pixels)
        self._masks = known
        self._boxes = _checked(boxes, pixels)
        self._prepare = prepare
        described = zip(names, classes, notes, strict=True)
        self.items: Sequence[Item] = [Item(name, label, note) for name, label, note in described]
        self.skipped: Sequence[Skipped] = ()

    def __len__(self) -> int:
        return len(self.items)

    def batches(self, batch_size: int, positions: Sequence[int] | None = None) -> Iterator[SourceBatch]:
        """The images in batches, prepared for the model."""
        wanted = range(len(self)) if positions is None else positions
        for start in range(0, len(wanted), batch_size):
            chosen = tuple(wanted[start : start + batch_size])
            inputs = self._images[list(chosen)]
            labels = torch.tensor([self.items[position].label for position in chosen])
            yield SourceBatch(chosen, self._prepare(inputs) if self._prepare else inputs, labels)

    def picture(self, position: int) -> Picture | None:
        """The image before its preparation, where people can look at it."""
        pixels = self._images[position]
        return encode(drawn_of(pixels)) if pixels.ndim == 3 and pixels.shape[0] in (1, 3) else None

    def seen(self, position: int) -> Image.Image:
        """The image before its preparation, in 8 bits: as large as the model sees it, and the same as upright.

        Raises:
            SourceError: It has not one or three channels.
        """
        return self.upright(position)

    def upright(self, position: int) -> Image.Image:
        """The image before its preparation, in 8 bits.

        Raises:
            SourceError: It has not one or three channels.
        """
        return drawn_of(self._images[position])

    def mask(self, position: int) -> Tensor | None:
        """Pixels of the object, ``(H, W)`` bool; None where it is not annotated."""
        boxes = self._boxes[position]
        if self._masks is None and boxes is not None:
            return mask_of(boxes, _size_of(self._images))
        return None if self._masks is None else self._masks[position]

    def boxes(self, position: int) -> Tensor | None:
        """Boxes of the object, ``(B, 4)`` float64: those given, or those around the parts of its mask; None without."""
        if self._masks is None:
            return self._boxes[position]
        mask = self._masks[position]
        return None if mask is None else boxes_of(mask)


def _classes(labels: Target) -> list[int]:
    """Class numbers as Python has them."""
    ndim = getattr(labels, "ndim", 1)
    count = len(labels) if isinstance(labels, Sized) and ndim != 0 else 1
    try:
        rows = labels_of(labels, count)
    except TargetError as error:
        raise SourceError(str(error).replace("`target`", "`labels`")) from error
    if rows is None or rows.shape[1:] != (1,):
        message = f"Expected `labels` with one class number per image, got {labels!r}."
        raise SourceError(message)
    numbers: list[int] = rows[:, 0].tolist()
    return numbers


def _size_of(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def _masks(masks: Tensor | NDArray[Any] | Sequence[Tensor | None] | None) -> Tensor | list[Tensor | None] | None:
    """Masks as tensors."""
    if isinstance(masks, Sequence):
        return [tensor_of(mask) for mask in masks]
    tensor: Tensor | None = tensor_of(masks)
    return tensor


def _require_masks(masks: Tensor | list[Tensor | None] | None, images: Tensor) -> None:
    expected = (len(images), *_size_of(images))
    if isinstance(masks, list):
        if len(masks) != len(images):
            message = f"Expected the masks of {len(images)} images, got those of {len(masks)}."
            raise SourceError(message)
        for mask in masks:
            _require_masks(None if mask is None else mask[None], images[:1])
    elif masks is not None and (tuple(masks.shape) != expected or masks.dtype != torch.bool):
        message = f"Expected masks {expected} of bool, got {tuple(masks.shape)} of {masks.dtype}."
        raise SourceError(message)


def _checked(boxes: Sequence[Tensor] | None, images: Tensor) -> Sequence[Tensor | None]:
    """The boxes of each image, without rows of NaN; None where there is none."""
    if boxes is None:
        return [None] * len(images)
    if len(boxes) != len(images):
        message = f"Expected the boxes of {len(images)} images, got those of {len(boxes)}."
        raise SourceError(message)
    size, known = _size_of(images), []
    try:
        for rows in map(torch.as_tensor, boxes):
            own = boxes_per_image([rows], 1, size, may_be_empty=True)[0] if len(rows) else rows
            own = own[own.isfinite().all(dim=-1)]
            known.append(own if len(own) else None)
    except InputError as error:
        raise SourceError(str(error)) from error
    return known
