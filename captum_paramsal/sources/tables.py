"""Labels from a table."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.classes import ClassNames
from captum_paramsal.sources.labels import Labels, is_image_name, require_folder
from captum_paramsal.sources.source import Item, Skipped

__all__ = ["labels_from_csv"]

_NUMBER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class _Row:
    line: int
    file: str
    label: str
    extra: dict[str, str]


def labels_from_csv(path: Path, folder: Path, classes: ClassNames | None = None) -> Labels:
    """Read a table with the columns ``file`` and ``label``; further columns are kept with each file.

    A label is a class number or a class name. A column ``name`` names the classes where ``classes`` does not,
    and a column ``note`` is shown beside the picture.

    Args:
        path: The table, UTF-8, separated by commas, semicolons or tabs.
        folder: Where the files lie.
        classes: Names of all the model's classes.

    Raises:
        SourceError: No such table or folder, other columns, a label that is no class, a file with two labels.
    """
    require_folder(folder)
    rows = _read(path)
    known = classes or _named_by(rows, path)
    items: dict[str, Item] = {}
    skipped: list[Skipped] = []
    for row in rows:
        if not row.label:
            skipped.append(Skipped(row.file, f"no label in {path.name}"))
            continue
        item = Item(row.file, _class_number(row, path, known), row.extra.get("note", ""), row.extra)
        if items.setdefault(row.file, item).label != item.label:
            both = f"{items[row.file].label} and {item.label}"
            message = f"Expected one label for each file in '{path}', got {both} for '{row.file}'."
            raise SourceError(message)
    missing = [name for name in items if not (folder / name).is_file()]
    skipped += [Skipped(name, "no such file") for name in missing]
    listed = {*items, *(skip.name for skip in skipped)}
    unlisted = [name for name in _images(folder) if name not in listed]
    skipped += [Skipped(name, f"no label in {path.name}") for name in unlisted]
    return Labels(tuple(item for name, item in items.items() if name not in missing), tuple(skipped), known)


def _read(path: Path) -> list[_Row]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"Expected a label file at '{path}', got {type(error).__name__}: {error}."
        raise SourceError(message) from error
    header = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=max(",;\t", key=header.count))
    columns = [column.strip() for column in next(reader, [])]
    if not {"file", "label"} <= set(columns):
        found = ", ".join(map(repr, columns)) or "nothing"
        message = (
            f"Expected the columns 'file' and 'label' in '{path}', got {found}. "
            "Name them in the first line: `file,label`."
        )
        raise SourceError(message)
    rows = []
    for cells in reader:
        if any(cells):
            padded = [*cells, *[""] * len(columns)]
            row = {column: cell.strip() for column, cell in zip(columns, padded, strict=False)}
            rows.append(_Row(reader.line_num, row.pop("file"), row.pop("label"), row))
    if not rows:
        message = f"Expected labelled files in '{path}', got a header and no line."
        raise SourceError(message)
    return rows


def _named_by(rows: Sequence[_Row], path: Path) -> ClassNames:
    names = {int(r.label): r.extra["name"] for r in rows if r.extra.get("name") and _NUMBER.fullmatch(r.label)}
    worded = [row.label for row in rows if row.label and not _NUMBER.fullmatch(row.label)]
    if worded and not names:
        message = (
            f"Expected class numbers as labels in '{path}', got {worded[0]!r}, and nothing says which class "
            "that is. List the classes in order: `--classes FILE.json`."
        )
        raise SourceError(message)
    return ClassNames(names)


def _class_number(row: _Row, path: Path, classes: ClassNames) -> int:
    if _NUMBER.fullmatch(row.label) and int(row.label) >= 0:
        return int(row.label)
    try:
        return classes.number(row.label)
    except SourceError as error:
        message = f"Line {row.line} of '{path}': {error}"
        raise SourceError(message) from error


def _images(folder: Path) -> list[str]:
    files = (path for path in sorted(folder.rglob("*")) if is_image_name(path) and path.is_file())
    return [path.relative_to(folder).as_posix() for path in files]
