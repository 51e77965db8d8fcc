"""The report on a cure, as a value that can be saved, loaded and shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from captum_paramsal.files import as_csv
from captum_paramsal.report.cure.data import PATCH, CureData
from captum_paramsal.report.cure.page import cure_page
from captum_paramsal.report.shared.folder import PAGE

_COLUMNS = ("schema_version", "file", "label", "before", "confidence", "after", "outcome")


@dataclass(frozen=True, eq=False, kw_only=True)
class CureReport(CureData):
    """A cure of few filters, kept or refused: data, table and page.

    ``write`` makes ``cure.json``, ``cure.csv`` (the images that judged), ``report.html``, and of a kept cure
    ``cured.patch.safetensors``.
    """

    def save_beside(self, folder: Path) -> None:
        """Save the patch of a kept cure."""
        if self.cure.patch is not None:
            self.cure.patch.save(folder / PATCH)

    def contents(self) -> dict[str, str | bytes]:
        """Table and page."""
        rows = [
            {"schema_version": self.version} | {name: "" if value is None else value for name, value in row.items()}
            for row in self.judged_table()
        ]
        return {"cure.csv": as_csv(rows, _COLUMNS), PAGE: cure_page(self)}
