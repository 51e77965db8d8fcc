"""The folder to annotate: pictures, a page to draw in, an empty file of COCO, and which image each picture shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from captum_paramsal.errors import SourceError
from captum_paramsal.files import as_json, open_folder
from captum_paramsal.files.kinds import PICTURES
from captum_paramsal.report.annotate.data import ChosenPicture
from captum_paramsal.report.annotate.page import annotation_page, coco
from captum_paramsal.report.shared.predictions import Prediction
from captum_paramsal.sources import ShownSource, Skipped
from captum_paramsal.sources.annotations import INDEX
from captum_paramsal.sources.pictures import encode_whole

PAGE, COCO, FOLDER = "annotate.html", "coco.json", "pictures"
_LONGEST = 40
"""Letters of an image's name in that of its picture."""


@dataclass(frozen=True)
class AnnotationTask:
    """Pictures to annotate, chosen and not yet written.

    Attributes:
        chosen: By class, least confident first.
        images: How many images there were to choose from.
        classes: Names of the classes.
        skipped: Files that could not be read.
        caveats: What a reader should know.
        context: What the page says of the choice.
        source: Where the pictures come from.
    """

    chosen: tuple[Prediction, ...] = field(repr=False)
    images: int
    classes: Mapping[int, str] = field(repr=False)
    skipped: tuple[Skipped, ...] = field(repr=False)
    caveats: tuple[str, ...]
    context: Mapping[str, Any] = field(repr=False)
    source: ShownSource = field(repr=False)

    def __len__(self) -> int:
        return len(self.chosen)

    def write(self, out_dir: str | Path, *, show_progress: bool = False) -> Path:
        """Write the pictures, and what they are annotated with.

        ``annotate.html`` draws in a browser, without a server, and gives one file ``annotations.json`` to put into the
        folder. ``pictures`` is a folder for labelme, which leaves its files there. ``coco.json`` is for tools that
        import COCO. ``pictures.json`` says which image each picture shows, and is what
        :class:`~captum_paramsal.sources.Annotations` needs to read all of it back.

        Args:
            out_dir: A folder without pictures to annotate.
            show_progress: Show a progress bar over the pictures.

        Returns:
            Path of the page.

        Raises:
            SourceError: The folder cannot be written to, or has pictures to annotate already, on which somebody may
                have drawn.
        """
        folder = open_annotation_folder(out_dir)
        try:
            with TemporaryDirectory(dir=folder, prefix=".annotate.", suffix=".partial") as staging:
                place = Path(staging) / FOLDER
                place.mkdir()
                pictures = self._write_pictures(place, show_progress=show_progress)
                page = annotation_page(pictures, self.classes, self.caveats, self.context)
                (folder / PAGE).write_text(page, encoding="utf-8")
                (folder / COCO).write_text(as_json(coco(pictures, self.classes)), encoding="utf-8")
                place.rename(folder / FOLDER)
            # Last, since a folder without it is not complete.
            PICTURES.save(folder / INDEX, {"pictures": [asdict(picture) for picture in pictures]})
        except OSError as error:
            message = f"Expected to write into '{folder}', got {type(error).__name__}: {error}."
            raise SourceError(message) from error
        return folder / PAGE

    def _write_pictures(self, folder: Path, *, show_progress: bool) -> list[ChosenPicture]:
        pictures, ranks = [], dict.fromkeys((chosen.label for chosen in self.chosen), 0)
        for chosen in tqdm(self.chosen, desc="pictures", unit="img", disable=not show_progress):
            ranks[chosen.label] += 1
            name = self.source.items[chosen.position].name
            shown = self.source.upright(chosen.position)
            encoded = encode_whole(shown)
            suffix = encoded.mime.removeprefix("image/").replace("jpeg", "jpg")
            picture = f"{chosen.label:04}-{ranks[chosen.label]:02}-{_plain(name)}.{suffix}"
            (folder / picture).write_bytes(encoded.data)
            pictures.append(
                ChosenPicture(
                    picture, name, chosen.label, chosen.predicted, round(chosen.label_confidence, 6), *shown.size
                )
            )
        return pictures


def open_annotation_folder(path: str | Path) -> Path:
    """Make a folder to annotate in if need be, and make sure that nothing of an earlier one is there.

    Raises:
        SourceError: The folder cannot be made or written to, or has pictures to annotate already.
    """
    folder = open_folder(path)
    there = [name for name in (INDEX, FOLDER) if (folder / name).exists()]
    if there:
        message = (
            f"Expected a folder without pictures to annotate, got '{folder}' with {there[0]!r}, on which somebody may "
            "have drawn. Name another one, or take that away."
        )
        raise SourceError(message)
    return folder


def _plain(name: str) -> str:
    """A part of an image's name that every system and tool takes as a name."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", PurePosixPath(name).stem).strip("-")[:_LONGEST] or "image"
