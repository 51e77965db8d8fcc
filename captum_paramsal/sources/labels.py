"""What is known about the files of a folder."""

from __future__ import annotations

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
    """

    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...]
    classes: ClassNames


def is_image_name(path: Path) -> bool:
    """Whether a file's name ends like that of an image."""
    return path.suffix.lower() in _SUFFIXES


def require_folder(folder: Path) -> None:
    """Refuse what is not a folder.

    Raises:
        SourceError: A file, or nothing.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        message = f"Expected a folder of images at '{folder}', got {found}."
        raise SourceError(message)
