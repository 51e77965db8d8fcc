"""The triage report, as a value that can be saved, loaded and shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from captum_paramsal.files import as_csv
from captum_paramsal.repair import GroupCures
from captum_paramsal.report.shared.folder import PAGE
from captum_paramsal.report.triage.data import OF_DOUBTS, OF_FILTERS, PATCH_FILE, VALUES_FILE, TriageData
from captum_paramsal.report.triage.figures import triage_figures
from captum_paramsal.report.triage.page import triage_page

_FILTER_COLUMNS = ("schema_version", "group", "mistakes", "rank", "filter", *OF_FILTERS)
_MISTAKE_COLUMNS = (
    *("schema_version", "file", "label", "predicted", "confidence", "group", "similarity"),
    *("nearest", "nearest_similarity", *OF_DOUBTS),
)
_CURE_COLUMNS = (
    *("schema_version", "group", "given", "already right", "mistakes", "cured", "right images", "broken", "p"),
    *("status", "reason"),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class TriageReport(TriageData):
    """All mistakes of labelled images, sorted: data, tables, figures and page.

    ``write`` makes ``triage.json``, ``triage.csv`` (the first ten filters of all mistakes and of every group),
    ``mistakes.csv``, ``triage.safetensors`` (the values of all filters), two figures and ``report.html``; where cures
    were looked for, also ``cures.csv``, and ``group-0.patch.safetensors`` and so on of those that are kept.
    """

    def save_beside(self, folder: Path) -> None:
        """Save the values of all filters, and the patches of kept cures."""
        self.triage.save(folder / VALUES_FILE)
        for number, patch in ({} if self.cures is None else self.cures.patches).items():
            patch.save(folder / PATCH_FILE.format(number))

    def contents(self) -> dict[str, str | bytes]:
        """Tables, figures and page."""
        stamp = {"schema_version": self.version}
        return {
            "triage.csv": as_csv([stamp | row for row in self.triage.to_table()], _FILTER_COLUMNS),
            "mistakes.csv": as_csv([stamp | row for row in self.mistakes_table()], _MISTAKE_COLUMNS),
            **({} if self.cures is None else {"cures.csv": self._cures_csv(self.cures)}),
            **triage_figures(self),
            PAGE: triage_page(self),
        }

    def _cures_csv(self, cures: GroupCures) -> str:
        return as_csv([{"schema_version": self.version} | row for row in cures.to_table()], _CURE_COLUMNS)
