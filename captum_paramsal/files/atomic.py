"""Files that are whole or not there."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captum_paramsal.errors import SourceError
from captum_paramsal.files.tensor_file import share


def open_folder(path: str | Path) -> Path:
    """Make a folder if need be, and make sure that it can be written to.

    Meant to be called before long work, whose result would otherwise have nowhere to go.

    Raises:
        SourceError: It cannot be made or written to.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        message = f"Expected a folder that can be written to at '{folder}', got {type(error).__name__}: {error}."
        raise SourceError(message) from error
    return folder


def write_atomically(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write files so that a reader, or a kill, finds each of them old or new, never half.

    All are written under hidden names first and then renamed, in the order given.

    Args:
        folder: Where.
        contents: Text, or bytes, of each file, by file name.

    Raises:
        SourceError: The folder cannot be written to.
    """
    pending: dict[str, Path] = {}
    try:
        for name, content in contents.items():
            handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=folder)
            pending[name] = Path(temporary)
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
        for name in contents:
            # mkstemp makes files that only their owner may read; reports are for sharing.
            share(pending[name])
            pending[name].replace(folder / name)
            del pending[name]
    except OSError as error:
        message = f"Expected to write into '{folder}', got {type(error).__name__}: {error}."
        raise SourceError(message) from error
    finally:
        for temporary_file in pending.values():
            temporary_file.unlink(missing_ok=True)


def as_json(content: Mapping[str, Any]) -> str:
    """JSON with one line per entry of its lists of records: readable, and small."""
    entries = []
    for key, value in content.items():
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n" + ",\n".join(json.dumps(one, ensure_ascii=False, allow_nan=False) for one in value) + "\n]"
        entries.append(f"{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A table with these columns, also where it has no row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
