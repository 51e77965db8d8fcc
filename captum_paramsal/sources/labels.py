"""What is known about the files of a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.classes import ClassNames
from captum_paramsal.sources.source import Item, Skipped

_SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".ppm",
        ".tga",
    }
    | {".tif", ".tiff", ".webp"}
)


@dataclass(frozen=True)
class Labels:
    """Labelled files of one folder.

    Attributes:
        items: Files that are there and have a label; their names are paths relative to the folder.
        skipped: Files that are not there, have no label, or are no images, each with the reason.
        classes: Names of the classes, as far as known.
        counted: Folders that were numbered in alphabetical order, since nothing says which class is which; 0 where
            labels are known.
    """

    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...]
    classes: ClassNames
    counted: int = 0


def is_image_name(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name ends like that of an image."""
    return os.path.splitext(path)[1].lower() in _SUFFIXES  # noqa: PTH122 -- many paths, of which Path would be slow


def require_folder(folder: Path) -> None:
    """Refuse what is not a folder.

    Raises:
        SourceError: A file, or nothing.
    """
    # Not `Path.is_dir`, which raises for a path that is too long.
    if not os.path.isdir(folder):  # noqa: PTH112
        what = "a file" if os.path.lexists(folder) else "nothing"
        message = f"Expected a folder of images at '{folder}', got {what}."
        raise SourceError(message)
