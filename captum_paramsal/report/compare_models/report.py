"""The report on two checkpoints, as a value that can be saved, loaded and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from captum_paramsal.files import as_csv
from captum_paramsal.models_compared import MEASURES
from captum_paramsal.report.compare_models.data import COMPARISON_FILE, DIFFERENCES_FILE, ModelComparisonData
from captum_paramsal.report.compare_models.figures import model_figures
from captum_paramsal.report.compare_models.page import models_page
from captum_paramsal.report.shared.folder import PAGE

_FILTERS = ("schema_version", "rank", "filter", "change", "share_only_a", "share_only_b")
_IMAGES = (
    *("schema_version", "file", "group", "label", "predicted_a", "predicted_b"),
    *MEASURES,
    "parts_at",
)
_LAYERS = (
    *("schema_version", "layer", "group", "images", "mean", "low", "high"),
    *("difference", "difference_low", "difference_high", "part_there"),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelComparisonReport(ModelComparisonData):
    """Two checkpoints of one architecture on labelled images: data, tables, figures and page.

    ``write`` makes ``models.json``, ``filters.csv`` (every filter, those that moved most first), ``images.csv`` (the
    images whose neurons and pixels were compared), ``layers.csv``, ``models.safetensors`` (a
    :class:`~captum_paramsal.ModelComparison`), ``differences.safetensors`` (an
    :class:`~captum_paramsal.models_compared.ImageDifferences`), two figures and ``report.html``.
    """

    def save_beside(self, folder: Path) -> None:
        """Save the values of all filters, neurons and pixels."""
        self.comparison.save(folder / COMPARISON_FILE)
        self.differences.save(folder / DIFFERENCES_FILE)

    def contents(self) -> dict[str, str | bytes]:
        """Tables, figures and page."""
        filters = self.comparison.to_table(len(self.comparison.filters))
        return {
            "filters.csv": as_csv(self._rows(filters), _FILTERS),
            "images.csv": as_csv(self._rows(self.explained_table()), _IMAGES),
            "layers.csv": as_csv(self._rows(self.differences.layer_table()), _LAYERS),
            **model_figures(self),
            PAGE: models_page(self),
        }

    def _rows(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """With the version, and an empty cell for what there is not."""
        stamp = {"schema_version": self.version}
        return [
            stamp
            | {name: "" if isinstance(value, float) and not isfinite(value) else value for name, value in row.items()}
            for row in rows
        ]
