"""What an explanation needs of a set of images, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from captum_paramsal.sources.pictures import Picture

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Item:
    """One labelled image.

    Attributes:
        name: Path relative to its folder, or any other name.
        label: Number of its class.
        note: A remark for people, shown beside the picture.
        extra: Whatever else the label file says about it.
        boxes: Where the object lies, each x1, y1, x2, y2 in pixels of the photo as it lies in the file; empty where
            it is not annotated.
    """

    name: str
    label: int
    note: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    boxes: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True)
class Skipped:
    """One file that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class SourceBatch:
    """Some images, ready for the model.

    Attributes:
        positions: Their places among the source's items, N of them.
        inputs: ``(N, C, H, W)``, on the CPU.
        labels: ``(N,)``, int64.
    """

    positions: tuple[int, ...]
    inputs: Tensor
    labels: Tensor


class ImageSource(Protocol):
    """Labelled images that can be read again and again, in batches."""

    @property
    def items(self) -> Sequence[Item]:
        """All images, in order."""
        ...

    @property
    def skipped(self) -> Sequence[Skipped]:
        """What has been left out so far; complete after one pass over all batches."""
        ...

    def batches(self, batch_size: int, positions: Sequence[int] | None = None) -> Iterator[SourceBatch]:
        """The images at ``positions`` (all of them by default), without those that cannot be read."""
        ...

    def picture(self, position: int) -> Picture | None:
        """The picture that the model sees, for people; None where there is none."""
        ...

    def mask(self, position: int) -> Tensor | None:
        """Pixels of the object as the model sees it, ``(H, W)`` bool; None where it is not annotated."""
        ...

    def boxes(self, position: int) -> Tensor | None:
        """Boxes of the object as the model sees it, ``(B, 4)`` float64 in pixels; None where it is not annotated."""
        ...


class ShownSource(ImageSource, Protocol):
    """Labelled images that people can look at in full size, as for drawing on them."""

    def upright(self, position: int) -> Image.Image:
        """The image before it is resized or cut, turned upright, in 8 bits."""
        ...


@runtime_checkable
class SeenSource(Protocol):
    """A source that shows what the model sees in the model's own size."""

    def seen(self, position: int) -> Image.Image:
        """The picture that the model sees, in 8 bits, as large as the model's input."""
        ...
