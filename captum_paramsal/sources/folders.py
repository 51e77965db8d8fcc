"""Labels from the folders that files lie in."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.classes import ClassNames, class_number
from captum_paramsal.sources.labels import Labels, is_image_name, require_folder
from captum_paramsal.sources.source import Item, Skipped
from captum_paramsal.sources.walk import is_left_behind, walk

_SHOWN = 5


def labels_from_folders(folder: Path, classes: ClassNames | None = None) -> Labels:
    """Take the name of each file's folder as its class.

    With ``classes``, every folder must be called by a number or by a name or alias of a class; where names are numbers
    themselves, the names win. Without, a folder called by a number is that class, and where none is, the folders in
    alphabetical order are classes 0, 1, ..., as in torchvision's ``ImageFolder``. Hidden folders and those that systems
    leave behind (``__MACOSX``, ``@eaDir``, ``lost+found``, ...) are no classes.

    Args:
        folder: Holds one folder per class.
        classes: Names of all the model's classes.

    Raises:
        SourceError: No such folder, no folder in it, folders that are no classes, or files of other kinds alone in a
            folder that would count as a class.
    """
    require_folder(folder)
    below, skipped = walk(folder)
    empty = {skip.name for skip in skipped}
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and not is_left_behind(e.name))
    except OSError as error:
        message = f"Expected a folder of images that can be read at '{folder}', got {type(error).__name__}: {error}."
        raise SourceError(message) from error
    if not names:
        raise _no_folder(folder)
    files: dict[str, list[str]] = {name: [] for name in names}
    loose: list[str] = []
    for path in below:
        first, inside, _ = path.partition("/")
        (files[first] if inside else loose).append(path)
    images = {name: [path for path in paths if is_image_name(path)] for name, paths in files.items()}
    numbers, known = _numbered(names, classes)
    counted = 0 if classes or any(class_number(name) is not None for name in names) else len(names)
    if counted:
        _require_images(folder, {name: files[name] for name in names if not images[name] and name not in empty})
    items = tuple(Item(path, numbers[name]) for name in names for path in images[name])
    foreign = [path for paths in files.values() for path in paths if not is_image_name(path)]
    others = [Skipped(path, "not an image file") for path in foreign]
    others += [Skipped(path, "in no class folder") for path in loose if is_image_name(path)]
    return Labels(items, (*others, *skipped), known, counted)


def _no_folder(folder: Path) -> SourceError:
    tables = [table for place in (folder, folder.parent) if (table := place / "labels.csv").is_file()]
    advice = tables[0] if tables else "FILE"
    return SourceError(
        f"Expected one folder per class in '{folder}', got none. "
        f"If a table has the labels, name it: `--labels {advice}`."
    )


def _require_images(folder: Path, without: dict[str, list[str]]) -> None:
    """An empty folder may be a class without images; one of other files alone is hardly one, and would move all labels.

    Raises:
        SourceError: Such a folder.
    """
    others = [name for name, paths in without.items() if paths]
    if others:
        message = (
            f"Expected images in every folder of '{folder}', whose folders count as classes in alphabetical order, got "
            f"{len(others)} that hold other files alone: {_listed(others)}. Move them away, or name the classes with "
            "`--classes FILE.json`."
        )
        raise SourceError(message)


def _numbered(folders: Sequence[str], classes: ClassNames | None) -> tuple[dict[str, int], ClassNames]:
    known = classes or ClassNames({})
    strange = [name for name in folders if class_number(name) is None and not known.knows(name)]
    if not strange:
        return known.numbers(folders), known
    if classes or len(strange) < len(folders):
        message = (
            f"Expected every folder to be called by a class number or by one of {len(known)} known names, "
            f"got {len(strange)} that are not: {_listed(strange)}. "
            "Rename them, or name the classes with `--classes FILE.json`."
        )
        raise SourceError(message)
    return {name: i for i, name in enumerate(folders)}, ClassNames(dict(enumerate(folders)))


def _listed(names: Collection[str]) -> str:
    return ", ".join([*names][:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
