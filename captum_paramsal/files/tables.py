"""Text of tables and of nested data, as reports write them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from captum_paramsal.files.text import as_cell, encodable


def as_json(content: Mapping[str, Any]) -> str:
    """JSON with one line per entry of its lists of records: readable, and small."""
    entries = []
    for key, value in content.items():
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            records = (json.dumps(record, ensure_ascii=False, allow_nan=False) for record in value)
            text = "[\n" + ",\n".join(records) + "\n]"
        entries.append(f"{json.dumps(key)}: {text}")
    return encodable("{\n" + ",\n".join(entries) + "\n}\n")


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A table with these columns, also where it has no row; no cell of it is run by a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for cells in (columns, *([row.get(column, "") for column in columns] for row in rows)):
        writer.writerow([as_cell(cell) for cell in cells])
    return text.getvalue()
