"""Labels from a table."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.boxes import Box, parse_boxes
from captum_paramsal.sources.classes import ClassNames, class_number
from captum_paramsal.sources.labels import Labels, is_image_name, require_folder
from captum_paramsal.sources.source import Item, Skipped
from captum_paramsal.sources.walk import walk, why_no_file

_BOXES = "boxes"
_SHOWN = 10
_FILE = ("file", "filename", "file_name", "path", "filepath", "file_path", "image", "image_path", "img", "image_name")
_LABEL = ("label", "class", "target", "category", "class_id", "label_id", "class_index", "y")
"""What tables call the two columns; the first name of each is taken before the others."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATOR = re.compile(r"sep=([,;\t])\r?\n", re.IGNORECASE)
"""First line of a table that a spreadsheet wrote for itself."""


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

    The columns may have other usual names, such as ``filename``, ``path`` or ``image``, and ``class`` or ``target``. A
    label is a class number, as ``3`` or ``3.0``, or a class name; where names that were given are numbers themselves,
    the names win. A column ``name`` names the classes where ``classes`` does not, and a column ``note`` is shown beside
    the picture. A column ``boxes`` says where the object lies: x1, y1, x2, y2 in pixels of the photo as it lies in the
    file, by spaces (or in quotes by commas), several boxes separated by ``;``. A file is one file however its path is
    written: relative to the folder, with ``./``, absolute, or with the backslashes of Windows.

    Args:
        path: The table, UTF-8 (or another Unicode with its mark), separated by commas, semicolons or tabs.
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
    numbers = _class_numbers(rows, path, known, given=bool(classes))
    items: dict[str, Item] = {}
    skipped: list[Skipped] = []
    for row in rows:
        name = _name_in(folder, row.file)
        if not row.label or not row.file:
            skipped.append(Skipped(name or f"line {row.line}", f"no {'label' if row.file else 'file'} in {path.name}"))
            continue
        marked = _boxes(row, column, path)
        item = Item(name, numbers[row.label], row.extra.get("note", ""), row.extra, marked)
        before = items.setdefault(name, item)
        if before.label != item.label:
            message = f"Expected one label for each file in '{path}', got {before.label} and {item.label} for '{name}'."
            raise SourceError(message)
        # Some tables have one line for each box.
        items[name] = replace(before, boxes=tuple(dict.fromkeys((*before.boxes, *marked))))
    missing = {name: why for name in items if (why := why_no_file(folder / name))}
    skipped += [Skipped(name, why) for name, why in missing.items()]
    listed = {*items, *(skip.name for skip in skipped)}
    if unlisted:
        files, strange = walk(folder)
        others = [name for name in files if is_image_name(name)]
        skipped += [Skipped(name, f"no label in {path.name}") for name in others if name not in listed]
        skipped += [skip for skip in strange if skip.name not in listed]
    return Labels(tuple(item for name, item in items.items() if name not in missing), tuple(skipped), known)


def _name_in(folder: Path, written: str) -> str:
    """The path of a file relative to its folder, with slashes, however a table has it."""
    spellings = [written, written.replace("\\", "/")] if "\\" in written else [written]
    names = [_relative(folder, spelling) for spelling in spellings]
    return next((name for name in names if not why_no_file(folder / name)), names[0]) if written else ""


def _relative(folder: Path, written: str) -> str:
    plain = os.path.normpath(written)
    if os.path.isabs(plain):  # noqa: PTH117
        for root in (os.path.abspath(folder), os.path.realpath(folder)):  # noqa: PTH100 -- links stay what they are
            if plain.startswith(root.rstrip(os.sep) + os.sep):
                return Path(plain).relative_to(root).as_posix()
    return Path(plain).as_posix()


def _read(path: Path, boxes: str | None) -> list[_Row]:
    text = _decoded(path)
    marked = _SEPARATOR.match(text)
    text = text[marked.end() :] if marked else text
    header = text.partition("\n")[0]
    delimiter = marked[1] if marked else max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = []
    try:
        columns = [column.strip() for column in next(reader, [])]
        file, label = _columns(columns, path, boxes)
        for cells in reader:
            if any(cells):
                _require_cells(cells, columns, boxes or _BOXES, f"line {reader.line_num} of '{path}'")
                padded = [*cells, *[""] * len(columns)]
                row = {column: cell.strip() for column, cell in zip(columns, padded, strict=False)}
                rows.append(_Row(reader.line_num, row.pop(file), row.pop(label), row))
    except csv.Error as error:
        message = f"Expected a table in '{path}', got line {reader.line_num} that cannot be read: {error}."
        raise SourceError(message) from error
    if not rows:
        message = f"Expected labelled files in '{path}', got a header and no line."
        raise SourceError(message)
    return rows


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
        encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
        return content.decode(encoding)
    except (OSError, ValueError) as error:
        advice = " Save the table as UTF-8." if isinstance(error, UnicodeDecodeError) else ""
        message = f"Expected a label file at '{path}', got {type(error).__name__}: {error}.{advice}"
        raise SourceError(message) from error


def _columns(columns: Sequence[str], path: Path, boxes: str | None) -> tuple[str, str]:
    """What the columns of files and of labels are called."""
    if boxes is not None and boxes not in columns:
        message = f"Expected a column {boxes!r} with boxes in '{path}', got {', '.join(map(repr, columns))}."
        raise SourceError(message)
    return _column("file", _FILE, columns, path), _column("label", _LABEL, columns, path)


def _column(what: str, names: Sequence[str], columns: Sequence[str], path: Path) -> str:
    """The one column that is called so, or by another usual name.

    Raises:
        SourceError: There is none, or there are several.
    """
    exact = [column for column in columns if column.casefold() == what]
    fitting = exact or [column for column in columns if column.casefold() in names]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        message = (
            f"Expected one column of {what}s in '{path}', got {', '.join(map(repr, fitting))}. "
            f"Call the right one {what!r}."
        )
    else:
        got = ", ".join(map(repr, columns[:_SHOWN])) + (", ..." if len(columns) > _SHOWN else "") or "nothing"
        message = (
            f"Expected the columns 'file' and 'label' in '{path}', got {got}. "
            "Name them in the first line: `file,label`."
        )
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
    numbers = _plain_numbers(rows, path)
    names = {numbers[row.label]: row.extra["name"] for row in rows if row.extra.get("name") and row.label in numbers}
    worded = [row.label for row in rows if row.label and row.label not in numbers and not row.label.startswith("-")]
    if worded and not names:
        message = (
            f"Expected class numbers as labels in '{path}', got {worded[0]!r}, and nothing says which class "
            "that is. List the classes in order: `--classes FILE.json`."
        )
        raise SourceError(message)
    return ClassNames(names)


def _plain_numbers(rows: Sequence[_Row], path: Path) -> dict[str, int]:
    """The labels that are class numbers."""
    numbers: dict[str, int] = {}
    for row in rows:
        with _at_line(row.line, path):
            if row.label not in numbers and (number := class_number(row.label)) is not None:
                numbers[row.label] = number
    return numbers


def _class_numbers(rows: Sequence[_Row], path: Path, classes: ClassNames, *, given: bool) -> dict[str, int]:
    """The class of each label; names that the table gives itself belong to its numbers, and never stand for them."""
    numbers = _plain_numbers(rows, path)
    if given and numbers:
        with _at_line(None, path):
            numbers = classes.numbers(numbers)
    for row in rows:
        if row.label and row.label not in numbers:
            with _at_line(row.line, path):
                numbers[row.label] = classes.number(row.label)
    return numbers


@contextmanager
def _at_line(line: int | None, path: Path) -> Iterator[None]:
    """Say which line an error is about."""
    try:
        yield
    except SourceError as error:
        message = f"{f'Line {line} of ' if line else ''}'{path}': {error}"
        raise SourceError(message) from error
