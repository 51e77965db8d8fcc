"""What a figure is made of: pictures, and their numbers as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from captum_paramsal.files import as_csv, as_json, open_folder, write_atomically
from captum_paramsal.summary import Summarized

TableRows: TypeAlias = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the maker of a figure gives.

    Attributes:
        tables: Rows by the table's name; the one that is named "" is the figure's own.
        pictures: PNG files by name, likewise.
        notes: What cannot be read off this figure, in sentences.
    """

    tables: Mapping[str, TableRows]
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Reproduction(Summarized):
    """A figure of a paper, for a model and images.

    Attributes:
        figure: Its name.
        tables: Rows of numbers by the name of their file, without its ending.
        pictures: PNG files, likewise.
        context: Model, images, settings, and how many images of which kind it is made of, as JSON has them.
    """

    figure: str
    tables: Mapping[str, TableRows]
    pictures: Mapping[str, bytes]
    context: Mapping[str, Any]

    def contents(self) -> dict[str, str | bytes]:
        """Files by name: a CSV of each table, a PNG of each picture, and the context as JSON."""
        tables = {f"{name}.csv": as_csv(rows, _columns(rows)) for name, rows in self.tables.items()}
        pictures = {f"{name}.png": picture for name, picture in self.pictures.items()}
        return {**tables, **pictures, f"{self.figure}.json": as_json(self.context)}

    def write(self, folder: str | Path) -> list[Path]:
        """Write all files, or none.

        Returns:
            Where they are.

        Raises:
            SourceError: The folder cannot be made or written to.
        """
        place, contents = open_folder(folder), self.contents()
        write_atomically(place, contents)
        return [place / name for name in contents]


def _columns(rows: TableRows) -> list[str]:
    """All columns in the order in which they first appear."""
    return list(dict.fromkeys(name for row in rows for name in row))
