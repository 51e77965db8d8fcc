"""Labelled photos in a folder, decoded when they are needed."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import Dataset

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.annotations import Annotations, require_picture_size
from captum_paramsal.sources.boxes import boxes_as_seen, boxes_of, mask_of, upright_size
from captum_paramsal.sources.classes import ClassNames
from captum_paramsal.sources.depth import eight_bits
from captum_paramsal.sources.drawn_shapes import AnnotatedPicture, mask_as_seen
from captum_paramsal.sources.folders import labels_from_folders
from captum_paramsal.sources.labels import Labels
from captum_paramsal.sources.pictures import Picture, encode
from captum_paramsal.sources.preprocessing import Preprocessing
from captum_paramsal.sources.source import Item, Skipped, SourceBatch
from captum_paramsal.sources.tables import labels_from_csv

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 2 * 89_478_485
"""Of one picture: what Pillow refuses by default, also where a program has lifted its limit."""


_THREADS = 16
"""Most that decode at once: they keep up with a fast GPU, and a batch of photos is not cut finer."""


class LabelledPhotos(Dataset[tuple[Tensor, int]]):
    """Photos of a folder with their labels: a map-style data set, and an ``ImageSource`` for reports.

    Nothing is decoded before it is asked for. As a data set it raises for a file that cannot be read;
    ``batches`` leaves such files out and names them in ``skipped``.

    Args:
        folder: Where the files lie.
        labels: As ``labels_from_csv`` or ``labels_from_folders`` return them.
        preprocessing: What the model takes.
    """

    def __init__(self, folder: Path, labels: Labels, preprocessing: Preprocessing) -> None:
        self._folder = folder
        self._labels = labels
        self._drawn: dict[int, AnnotatedPicture] = {}
        self._unreadable: dict[int, Skipped] = {}
        self._lock = threading.Lock()
        self.preprocessing = preprocessing

    @classmethod
    def open(
        cls,
        folder: str | Path,
        preprocessing: Preprocessing,
        *,
        labels: str | Path | None = None,
        classes: ClassNames | None = None,
        boxes: str | None = None,
        masks: str | Path | Annotations | None = None,
        unlisted: bool = True,
    ) -> LabelledPhotos:
        """Photos labelled by a table, or by the folders they lie in.

        Args:
            folder: Where the files lie.
            preprocessing: What the model takes.
            labels: The table (see ``labels_from_csv``); None for one folder per class.
            classes: Names of the model's classes.
            boxes: Column of the table with the boxes of the objects; "boxes", if it is there, by default.
            masks: Folder with what was drawn on some photos, see :class:`Annotations`; it takes the place of boxes.
            unlisted: Name images that are not in the table among those that are skipped.

        Raises:
            SourceError: See ``labels_from_csv``, ``labels_from_folders`` and :class:`Annotations`; no labelled file is
                there; or what was drawn belongs to a photo of another size, or is called as another class.
        """
        root = Path(folder)
        if labels is None:
            labelled = labels_from_folders(root, classes)
        else:
            labelled = labels_from_csv(Path(labels), root, classes, boxes=boxes, unlisted=unlisted)
        photos = cls(root, labelled, preprocessing)
        if not labelled.items:
            raise _nothing_left(root, labelled.skipped)
        if masks is not None:
            photos._take(masks if isinstance(masks, Annotations) else Annotations.read(masks))
        return photos

    @property
    def items(self) -> Sequence[Item]:
        """Every labelled file that is there, in the order of the table or of the folders."""
        return self._labels.items

    @property
    def classes(self) -> ClassNames:
        """Names of the classes, as far as known."""
        return self._labels.classes

    @property
    def counted(self) -> int:
        """Folders that were numbered in alphabetical order; 0 where it is known which class each is."""
        return self._labels.counted

    @property
    def skipped(self) -> Sequence[Skipped]:
        """Files left out so far; those that cannot be read come to light when they are."""
        return (*self._labels.skipped, *(self._unreadable[i] for i in sorted(self._unreadable)))

    def paths(self) -> list[Path]:
        """Where every labelled file lies, links followed."""
        return [(self._folder / item.name).resolve() for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """The prepared photo ``(C, H, W)`` and its label.

        Raises:
            SourceError: The file is damaged or no image.
        """
        return self.preprocessing.tensor(self.seen(position)), self.items[position].label

    def seen(self, position: int) -> Image.Image:
        """What the model sees of a photo, in the model's size.

        Raises:
            SourceError: The file is damaged or no image.
        """
        with self._opened(position) as photo:
            return self.preprocessing.picture(photo)

    def picture(self, position: int) -> Picture | None:
        """What the model sees of a photo, small."""
        return encode(self.seen(position))

    def mask(self, position: int) -> Tensor | None:
        """Pixels of what was drawn on a photo, or else that its boxes touch, as the model sees them; None without any.

        Raises:
            SourceError: The file is damaged, or a box does not lie within the photo.
        """
        if position in self._drawn:
            return mask_as_seen(self._drawn[position].mask(), self.preprocessing)
        side, seen = self.preprocessing.image_size, self.boxes(position)
        return None if seen is None else mask_of(seen, (side, side))

    def boxes(self, position: int) -> Tensor | None:
        """Boxes of a photo, ``(B, 4)`` float64 in pixels of what the model sees; None without a box in it.

        They are scaled and cut off as the photo is, and not rounded. Boxes that overlap stay apart. Where something was
        drawn on the photo, they are those around its parts.

        Raises:
            SourceError: The file is damaged, or a box does not lie within the photo.
        """
        item = self.items[position]
        if position in self._drawn:
            mask = self.mask(position)
            return None if mask is None else boxes_of(mask)
        if not item.boxes:
            return None
        with self._opened(position) as photo:
            seen = boxes_as_seen(item.boxes, photo, self.preprocessing, item.name)
        return seen if len(seen) else None

    def seen_part(self, position: int) -> tuple[float, float, float, float]:
        """Which part of a photo the model sees: x1, y1, x2, y2 as shares of its width and height, turned upright.

        Below 0 or above 1 where the model sees an empty margin.

        Raises:
            SourceError: The file is damaged or no image.
        """
        with self._opened(position) as photo:
            place = self.preprocessing.placement(*upright_size(photo))
        side = self.preprocessing.image_size
        right, bottom = place.left + side, place.top + side
        return place.left / place.width, place.top / place.height, right / place.width, bottom / place.height

    def batches(self, batch_size: int, positions: Sequence[int] | None = None) -> Iterator[SourceBatch]:
        """The photos in batches; the next ones are decoded while the model works on this one.

        Args:
            batch_size: Photos per batch; unreadable ones make a batch smaller.
            positions: Which, by default all.

        Raises:
            SourceError: None of them can be read.
        """
        wanted = iter(range(len(self)) if positions is None else positions)
        threads = min(_THREADS, _cores())
        # Decoding and resizing release the interpreter lock; more threads than cores gain nothing.
        pool = ThreadPoolExecutor(threads, thread_name_prefix="photos")
        # One batch, or as many small ones as have two photos for each thread.
        ahead = -(-2 * threads // batch_size)
        delivered = False
        try:
            coming = deque(self._submit(pool, wanted, batch_size) for _ in range(ahead))
            while coming:
                current = coming.popleft()
                coming.append(self._submit(pool, wanted, batch_size))
                if not current:
                    break
                read = [(position, tensor) for position, future in current if (tensor := future.result()) is not None]
                if read:
                    delivered = True
                    yield self._batch(read)
        finally:
            pool.shutdown(cancel_futures=True)
        if not delivered:
            raise _nothing_left(self._folder, self.skipped)

    def _submit(
        self, pool: ThreadPoolExecutor, positions: Iterator[int], count: int
    ) -> list[tuple[int, Future[Tensor | None]]]:
        return [(position, pool.submit(self._read, position)) for position in islice(positions, count)]

    def _read(self, position: int) -> Tensor | None:
        try:
            return self[position][0]
        except SourceError as error:
            with self._lock:
                self._unreadable[position] = Skipped(self.items[position].name, str(error.__cause__))
            return None

    def _batch(self, read: Sequence[tuple[int, Tensor]]) -> SourceBatch:
        positions = tuple(position for position, _ in read)
        labels = torch.tensor([self.items[position].label for position in positions])
        return SourceBatch(positions, torch.stack([tensor for _, tensor in read]), labels)

    def upright(self, position: int) -> Image.Image:
        """A photo as people see it, in 8 bits: turned as the camera says, neither resized nor cut.

        Raises:
            SourceError: The file is damaged or no image.
        """
        from PIL import ImageOps  # noqa: PLC0415

        with self._opened(position) as photo:
            shown = eight_bits(ImageOps.exif_transpose(photo))
            return shown.convert("L" if shown.mode == "L" else "RGB")

    def _take(self, annotations: Annotations) -> None:
        """Keep what was drawn, once it is sure that it belongs to these photos."""
        if not annotations.annotated:
            message = f"Expected shapes around objects in '{annotations.folder}', got none: nobody has drawn there yet."
            raise SourceError(message)
        positions = {item.name: position for position, item in enumerate(self.items)}
        for name, picture in annotations.by_image([*positions]).items():
            item = self.items[positions[name]]
            others = [s.label for s in picture.shapes if self._label_of(s.label) not in (None, item.label)]
            if others:
                message = (
                    f"Expected shapes around what '{name}' is labelled as, "
                    f"{self.classes.get(item.label, item.label)!r}, got one called {others[0]!r}, another class, in "
                    f"'{picture.file}'. Delete it, or call it otherwise."
                )
                raise SourceError(message)
            try:
                with self._opened(positions[name]) as photo:
                    width, height = upright_size(photo)
            except SourceError:
                continue  # named among those that are skipped, once it is read
            require_picture_size(picture, width, height, name)
            self._drawn[positions[name]] = picture

    def _label_of(self, word: str) -> int | None:
        """The class that is called so; None where none is, or several are."""
        fitting = [number for number, name in self.classes.items() if name.casefold() == word.casefold().strip()]
        return fitting[0] if len(fitting) == 1 else None

    @contextmanager
    def _opened(self, position: int) -> Iterator[Image.Image]:
        from PIL import Image  # noqa: PLC0415

        path = self._folder / self.items[position].name
        try:
            with Image.open(path) as photo:
                _require_size(photo)
                yield photo
        except SourceError:
            raise
        except Exception as error:  # Pillow's readers raise nearly anything for a damaged file
            message = f"Expected a readable image at '{path}', got {type(error).__name__}: {error}."
            raise SourceError(message) from error


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _require_size(photo: Image.Image) -> None:
    """Before anything is unpacked: a file of some kilobytes may hold a picture that takes all memory.

    Raises:
        ValueError: Too many pixels.
    """
    width, height = photo.size
    if width * height > MOST_PIXELS:
        message = f"{width:,} x {height:,} pixels, of which {MOST_PIXELS:,} are the most that is unpacked"
        raise ValueError(message)


def _nothing_left(folder: Path, skipped: Sequence[Skipped]) -> SourceError:
    reasons = "; ".join(f"'{skip.name}': {skip.reason}" for skip in skipped[:3])
    return SourceError(
        f"Expected labelled images in '{folder}', got none that can be used; {len(skipped)} were skipped"
        f"{f' ({reasons}, ...)' if len(skipped) > 3 else f' ({reasons})' if skipped else ''}."
    )
