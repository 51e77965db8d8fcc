"""A comparison of methods on labelled images, as a value that can be saved and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite, nan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.comparison import Comparison, PairedDifference
from captum_paramsal.comparison.batch_scores import COST
from captum_paramsal.files import as_csv, as_json, open_folder, write_atomically
from captum_paramsal.report.compare.page import render
from captum_paramsal.report.compare.pictures import figures
from captum_paramsal.report.shared.report import class_name
from captum_paramsal.sources import Item, Picture, Skipped

_SCHEMA = "captum_paramsal.comparison"
_VERSION = 1
_BY_BATCH = frozenset(column.name for column in COST)
"""Columns whose numbers are those of batches: the images of one share theirs, and are no sample of anything."""


@dataclass(frozen=True, eq=False)
class ComparisonReport:
    """Methods on images whose labels are known: mistakes and correctly classified ones apart.

    Attributes:
        comparison: The scores; image n is the n-th of ``items``.
        items: The images that were compared on, in order.
        candidates: Images that could be read, which these were chosen from.
        accuracy: Share of all of those that the model gets right.
        skipped: Files that were left out.
        classes: Names of the classes, as far as known.
        remarks: What a reader should know before believing a number.
        context: Model, images, reference, settings and versions, as JSON has them.
        pictures: Of the images whose maps are kept, by number; not saved as data.
    """

    comparison: Comparison
    items: tuple[Item, ...]
    candidates: int
    accuracy: float
    skipped: tuple[Skipped, ...]
    classes: Mapping[int, str]
    remarks: tuple[str, ...]
    context: Mapping[str, Any]
    pictures: Mapping[int, Picture] = field(default_factory=dict, repr=False)

    @property
    def wrong(self) -> Tensor:
        """Which images the model gets wrong, ``(N,)`` bool."""
        labels = torch.tensor([item.label for item in self.items])
        return self.comparison.predicted != labels

    @cached_property
    def groups(self) -> dict[str, Comparison]:
        """The comparison on correctly classified images and on mistakes, without a group that is empty."""
        masks = {"correct": ~self.wrong, "mistakes": self.wrong}
        return {name: self.comparison.where(mask) for name, mask in masks.items() if mask.any()}

    @cached_property
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Means with their intervals, on "all" images and in each group, see ``Comparison.table``; costs have none."""
        no_interval = {"low": nan, "high": nan}
        return {
            name: [row | no_interval if row["metric"] in _BY_BATCH else row for row in part.table()]
            for name, part in {"all": self.comparison, **self.groups}.items()
        }

    @cached_property
    def pairs(self) -> dict[str, list[PairedDifference]]:
        """Every two methods that share images, by each column that has a better end, but for the costs."""
        return {
            column.name: [pair for pair in self.comparison.paired(column.name) if pair.images]
            for column in self.comparison.columns
            if column.better and column.name not in _BY_BATCH
        }

    def class_name(self, number: int) -> str:
        """Name of a class, or "class 17" where it has none."""
        return class_name(self.classes, number)

    def to_dict(self) -> dict[str, Any]:
        """Everything but maps and pictures, as JSON takes it: NaN is null."""
        tables = [{"group": group, **row} for group, rows in self.tables.items() for row in rows]
        pairs = [
            {"metric": column, "first": pair.first, "second": pair.second, "images": pair.images}
            | {"mean": pair.mean, "low": pair.interval[0], "high": pair.interval[1]}
            | {"p_value": pair.p_value, "adjusted_p_value": pair.adjusted}
            for column, of_column in self.pairs.items()
            for pair in of_column
        ]
        content = {
            "schema": _SCHEMA,
            "schema_version": _VERSION,
            **self.context,
            "comparison": dict(self.comparison.context),
            "summary": {
                "images": len(self.items),
                "mistakes": int(self.wrong.sum()),
                "candidates": self.candidates,
                "accuracy": self.accuracy,
                "skipped": len(self.skipped),
            },
            "remarks": list(self.remarks),
            "methods": list(self.comparison.methods),
            "columns": [vars(column) for column in self.comparison.columns],
            "table": tables,
            "paired": pairs,
            "agreement": self.comparison.agreement.tolist(),
            "failures": [vars(one) | {"file": self.items[one.image].name} for one in self.comparison.failures],
            "images": [{"file": item.name, "label": item.label} for item in self.items],
            "skipped": [{"file": skip.name, "reason": skip.reason} for skip in self.skipped],
        }
        plain: dict[str, Any] = _without_nan(content)
        return plain

    def to_table(self) -> list[dict[str, Any]]:
        """One row per image and method, as ``comparison.csv`` has them."""
        return [self._row(row) for row in self.comparison.per_image()]

    def write(self, out_dir: str | Path) -> Path:
        """Write data, figures and ``report.html``, each whole or not.

        Returns:
            Path of the report.

        Raises:
            SourceError: The folder cannot be written to.
        """
        folder = open_folder(out_dir)
        self.comparison.save(folder / "comparison.safetensors")
        fixed = ("schema_version", "image", "file", "label", "target", "predicted", "method", "degenerate")
        columns = (*fixed, *(column.name for column in self.comparison.columns))
        contents: dict[str, str | bytes] = {
            "comparison.json": as_json(self.to_dict()),
            "comparison.csv": as_csv(self.to_table(), columns),
            **figures(self),
            "report.html": render(self),
        }
        write_atomically(folder, contents)
        return folder / "report.html"

    def _row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        item = self.items[row["image"]]
        about = {"schema_version": _VERSION, "file": item.name, "label": item.label}
        empty = {name: "" for name, value in row.items() if isinstance(value, float) and not isfinite(value)}
        return {**row, **about, **empty}


def _without_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content
