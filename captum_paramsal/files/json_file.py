"""Files of JSON that are whole or not there, and that tell if they are not as they were written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from captum_paramsal.files.atomic import replacing
from captum_paramsal.files.file_kind import _T, FileKind
from captum_paramsal.files.old_layouts import upgraded_json


class JsonFile(FileKind):
    """A kind of JSON file with a checksum."""

    def save(self, path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
        """Write a file; an existing one is replaced only when the new one is complete.

        Raises:
            ParamsalError: The file cannot be written; of this kind's error.
        """
        text = self.described(content, {}) + "\n"
        try:
            with replacing(Path(path)) as [partial]:
                partial.write_text(text, encoding="utf-8")
        except OSError as error:
            raise self.unwritable(path, error) from error

    def beside(self, path: str | os.PathLike[str], ending: str) -> Path:
        """The file beside one of this kind that has its name with another ending.

        Raises:
            ParamsalError: The name has this ending itself, so that one would take the other's place; of this kind's
                error.
        """
        if Path(path).suffix == ending:
            named = str(Path(path).with_suffix(".json"))
            message = (
                f"Expected a name for the JSON file of the {self.name}, such as {named!r}, got {str(path)!r}, which is "
                "where the file beside it goes."
            )
            raise self.error(message)
        return Path(path).with_suffix(ending)

    def load(self, path: str | os.PathLike[str], build: Callable[[dict[str, Any]], _T]) -> _T:
        """Read a file, whole or not at all.

        Args:
            path: Where.
            build: Makes the value of the content.

        Raises:
            ParamsalError: No such file, damaged, of another kind, of an unknown version; of this kind's error.
        """
        try:
            text = Path(path).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise self.unreadable(path, error) from error
        content = self.content_of(upgraded_json(text), {}, path)
        return self.made(lambda: build(content), path)
