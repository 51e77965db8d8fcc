"""Labels from a table."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.boxes import Box, parse_boxes
from captum_paramsal.sources.classes import ClassNames
from captum_paramsal.sources.labels import Labels, is_image_name, require_folder
from captum_paramsal.sources.source import Item, Skipped

_BOXES = "boxes"
_NUMBER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class _Row:
    line: int
    file: str
    label: str
    extra: dict[str, str]


def labels_from_csv(
    path: Path,
    folder: Path,
    classes: ClassNames | None = None,
    *,
    boxes: str | None = None,
    unlisted: bool = True,
) -> Labels:
    """Read a table with the columns ``file`` and ``label``; further columns are kept with each file.

    A label is a class number or a class name. A column ``name`` names the classes where ``classes`` does not,
    and a column ``note`` is shown beside the picture. A column ``boxes`` says where the object lies: x1, y1, x2, y2 in
    pixels of the photo as it lies in the file, by spaces (or in quotes by commas), several boxes separated by ``;``.

    Args:
        path: The table, UTF-8, separated by commas, semicolons or tabs.
        folder: Where the files lie.
        classes: Names of all the model's classes.
        boxes: What the column of boxes is called; "boxes", if it is there, by default.
        unlisted: Name images of the folder that are not in the table among those that are skipped.

    Raises:
        SourceError: No such table or folder, other columns, a label that is no class, a file with two labels, or what
            is no box.
    """
    require_folder(folder)
    rows = _read(path, boxes)
    column = boxes or _BOXES
    known = classes or _named_by(rows, path)
    items: dict[str, Item] = {}
    skipped: list[Skipped] = []
    for row in rows:
        if not row.label:
            skipped.append(Skipped(row.file, f"no label in {path.name}"))
            continue
        found = _boxes(row, column, path)
        item = Item(row.file, _class_number(row, path, known), row.extra.get("note", ""), row.extra, found)
        before = items.setdefault(row.file, item)
        if before.label != item.label:
            message = (
                f"Expected one label for each file in '{path}', got {before.label} and {item.label} for '{row.file}'."
            )
            raise SourceError(message)
        # Some tables have one line for each box.
        items[row.file] = replace(before, boxes=tuple(dict.fromkeys((*before.boxes, *found))))
    missing = [name for name in items if not (folder / name).is_file()]
    skipped += [Skipped(name, "no such file") for name in missing]
    listed = {*items, *(skip.name for skip in skipped)}
    others = _images(folder) if unlisted else []
    skipped += [Skipped(name, f"no label in {path.name}") for name in others if name not in listed]
    return Labels(tuple(item for name, item in items.items() if name not in missing), tuple(skipped), known)


def _read(path: Path, boxes: str | None) -> list[_Row]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"Expected a label file at '{path}', got {type(error).__name__}: {error}."
        raise SourceError(message) from error
    header = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=max(",;\t", key=header.count))
    columns = [column.strip() for column in next(reader, [])]
    _require_columns(columns, path, boxes)
    rows = []
    for cells in reader:
        if any(cells):
            _require_cells(cells, columns, boxes or _BOXES, f"line {reader.line_num} of '{path}'")
            padded = [*cells, *[""] * len(columns)]
            row = {column: cell.strip() for column, cell in zip(columns, padded, strict=False)}
            rows.append(_Row(reader.line_num, row.pop("file"), row.pop("label"), row))
    if not rows:
        message = f"Expected labelled files in '{path}', got a header and no line."
        raise SourceError(message)
    return rows


def _require_columns(columns: Sequence[str], path: Path, boxes: str | None) -> None:
    if not {"file", "label"} <= set(columns):
        found = ", ".join(map(repr, columns)) or "nothing"
        message = (
            f"Expected the columns 'file' and 'label' in '{path}', got {found}. "
            "Name them in the first line: `file,label`."
        )
        raise SourceError(message)
    if boxes is not None and boxes not in columns:
        message = f"Expected a column {boxes!r} with boxes in '{path}', got {', '.join(map(repr, columns))}."
        raise SourceError(message)


def _require_cells(cells: Sequence[str], columns: Sequence[str], boxes: str, where: str) -> None:
    """Boxes with commas that are not in quotes are cells of their own, of which the last would be lost."""
    if boxes in columns and len(cells) > len(columns):
        message = (
            f"Expected {len(columns)} cells in {where}, got {len(cells)}. Put boxes into quotes, or separate their "
            "numbers by spaces."
        )
        raise SourceError(message)


def _boxes(row: _Row, column: str, path: Path) -> tuple[Box, ...]:
    try:
        return parse_boxes(row.extra.get(column, ""))
    except SourceError as error:
        message = f"Line {row.line} of '{path}', column {column!r}: {error}"
        raise SourceError(message) from error


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
