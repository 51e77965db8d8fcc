"""Labels from the folders that files lie in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.classes import ClassNames
from captum_paramsal.sources.labels import Labels, is_image_name, require_folder
from captum_paramsal.sources.source import Item, Skipped


def labels_from_folders(folder: Path, classes: ClassNames | None = None) -> Labels:
    """Take the name of each file's folder as its class.

    A folder called by a number is that class; otherwise it is matched with ``classes`` by name or alias.
    Where no folder is called by a number or by one of ``classes``, the folders in alphabetical order are
    classes 0, 1, ..., as in torchvision's ``ImageFolder``.

    Args:
        folder: Holds one folder per class.
        classes: Names of all the model's classes.

    Raises:
        SourceError: No such folder, no folder in it, or folders of which only some are classes.
    """
    require_folder(folder)
    folders = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        tables = [table for place in (folder, folder.parent) if (table := place / "labels.csv").is_file()]
        advice = tables[0] if tables else "FILE"
        message = (
            f"Expected one folder per class in '{folder}', got none. "
            f"If a table has the labels, name it: `--labels {advice}`."
        )
        raise SourceError(message)
    numbers, known = _numbered([entry.name for entry in folders], classes)
    items: list[Item] = []
    skipped: list[Skipped] = []
    for entry in folders:
        for file in sorted(path for path in entry.rglob("*") if path.is_file()):
            name = file.relative_to(folder).as_posix()
            if is_image_name(file):
                items.append(Item(name, numbers[entry.name]))
            elif not file.name.startswith("."):
                skipped.append(Skipped(name, "not an image file"))
    loose = [entry.name for entry in sorted(folder.iterdir()) if entry.is_file() and is_image_name(entry)]
    skipped += [Skipped(name, "in no class folder") for name in loose]
    return Labels(tuple(items), tuple(skipped), known)


def _numbered(folders: Sequence[str], classes: ClassNames | None) -> tuple[dict[str, int], ClassNames]:
    classes = classes or ClassNames({})
    strange = [name for name in folders if not name.isdecimal() and not classes.knows(name)]
    if not strange:
        return {name: int(name) if name.isdecimal() else classes.number(name) for name in folders}, classes
    if len(strange) < len(folders):
        message = (
            f"Expected every folder to be called by a class number or by one of {len(classes)} known names, "
            f"got {len(strange)} that are not: {', '.join(strange[:5])}. "
            "Rename them, or name the classes with `--classes FILE.json`."
        )
        raise SourceError(message)
    return {name: i for i, name in enumerate(folders)}, ClassNames(dict(enumerate(folders)))
