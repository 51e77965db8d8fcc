"""The comparison report, as a value that can be saved, loaded and shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from captum_paramsal.files import as_csv
from captum_paramsal.report.compare.data import SCORES_FILE, ComparisonData
from captum_paramsal.report.compare.figures import comparison_figures
from captum_paramsal.report.compare.page import compare_page
from captum_paramsal.report.shared.folder import PAGE

_COLUMNS = ("schema_version", "image", "file", "label", "target", "predicted", "method", "degenerate")


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparisonReport(ComparisonData):
    """Methods side by side on labelled images: data, table, figures and page.

    ``write`` makes ``comparison.json`` (every number on the page and every paired test), ``comparison.csv`` (one line
    per image and method), ``comparison.safetensors`` (the scores, with the maps that are shown), figures and
    ``report.html``.
    """

    def save_beside(self, folder: Path) -> None:
        """Save the scores."""
        self.comparison.save(folder / SCORES_FILE)

    def contents(self) -> dict[str, str | bytes]:
        """Table, figures and page."""
        columns = (*_COLUMNS, *(column.name for column in self.comparison.columns))
        return {
            "comparison.csv": as_csv(self.to_table(), columns),
            **comparison_figures(self),
            PAGE: compare_page(self),
        }
