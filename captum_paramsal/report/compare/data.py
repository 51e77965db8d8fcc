"""What a comparison report says: methods on images whose labels are known, mistakes and correct images apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, nan
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from captum_paramsal.comparison import Comparison, PairedDifference, TrustSummary
from captum_paramsal.comparison.cost import COST
from captum_paramsal.report.shared.folder import SHARED_FILES
from captum_paramsal.report.shared.report import Report
from captum_paramsal.sources import Item
from captum_paramsal.viz import MapScale

SCORES_FILE = "comparison.safetensors"
_BY_BATCH = frozenset(column.name for column in COST)
"""Columns whose numbers are those of batches: the images of one share theirs, and are no sample of anything."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparisonData(Report):
    """Methods on images whose labels are known: mistakes and correct images apart.

    Attributes:
        comparison: The scores; image n is the n-th of ``items``.
        items: The images that were compared on, in order.
        candidates: Images that could be read, which these were chosen from.
        candidates_accuracy: Share of all of those that the model gets right.
    """

    kind: ClassVar[str] = "compare"
    schema: ClassVar[str] = "captum_paramsal.comparison"
    version: ClassVar[int] = 2
    data_file: ClassVar[str] = "comparison.json"
    files: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            data_file: "every number on the page, and every paired test",
            "comparison.csv": "one row per image and method",
            SCORES_FILE: "the comparison, with the maps that are shown",
            "metrics.png": "means and intervals of every metric",
            "agreement.png": "how similar the methods' maps are",
            "maps.png": "maps of some images by every method",
            **SHARED_FILES,
        }
    )
    former_keys: ClassVar[Mapping[str, str]] = MappingProxyType({"remarks": "caveats"})
    context_keys: ClassVar[tuple[str, ...]] = ("versions", "model", "images", "reference", "parameters")

    comparison: Comparison
    items: tuple[Item, ...]
    candidates: int
    candidates_accuracy: float

    @property
    def image_count(self) -> int:
        """How many images were compared on."""
        return len(self.items)

    @property
    def mistake_count(self) -> int:
        """How many of them the model got wrong."""
        return int(self.wrong.sum())

    @property
    def accuracy(self) -> float:
        """Share of all images that could be read which the model gets right."""
        return self.candidates_accuracy

    @property
    def wrong(self) -> Tensor:
        """Which images the model gets wrong, ``(N,)`` bool."""
        labels = torch.tensor([item.label for item in self.items])
        return self.comparison.predicted != labels

    @property
    def scale(self) -> MapScale:
        """Which maps share a scale of colours; each has its own in reports from before this was a choice."""
        scale: MapScale = self.context["parameters"].get("scale", "map")
        return scale

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

    @cached_property
    def trust(self) -> dict[str, TrustSummary]:
        """Which methods to trust, in each group, see ``Comparison.trust``."""
        return {name: part.trust() for name, part in self.groups.items()}

    def summary(self) -> dict[str, Any]:
        """The figures that come first."""
        return {**super().summary(), "candidates": self.candidates}

    def facts(self) -> dict[str, Any]:
        """What this kind has to say, by key."""
        comparison = self.comparison
        return {
            "comparison": comparison.context,
            "methods": comparison.methods,
            "columns": comparison.columns,
            "table": [{"group": group, **row} for group, rows in self.tables.items() for row in rows],
            "paired": [
                {"metric": column, "first": pair.first, "second": pair.second, "images": pair.images}
                | {"mean": pair.mean, "low": pair.interval[0], "high": pair.interval[1]}
                | {"p_value": pair.p_value, "adjusted_p_value": pair.adjusted}
                for column, pairs in self.pairs.items()
                for pair in pairs
            ],
            "trust": [
                {"group": group, "sentences": one.sentences, "ranks": one.to_table(), "measures": one.agreements}
                for group, one in self.trust.items()
            ],
            "agreement": comparison.agreement.tolist(),
            "failures": [vars(failure) | {"file": self.items[failure.image].name} for failure in comparison.failures],
            "items": [{"file": item.name, "label": item.label} for item in self.items],
        }

    def to_table(self) -> list[dict[str, Any]]:
        """One row per image and method, as ``comparison.csv`` has them."""
        return [self._row(row) for row in self.comparison.per_image()]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """Back from ``to_dict``, and the scores beside it.

        Raises:
            KeyError, TypeError, ValueError: Something is missing, or of another kind.
            SourceError: ``comparison.safetensors`` cannot be read.
        """
        # Version 1 called the images "images", and what is known of them as a whole "images_from".
        known = content if "items" in content else _of_version_1(content)
        return cls(
            comparison=Comparison.load(folder / SCORES_FILE),
            items=tuple(Item(item["file"], item["label"]) for item in known["items"]),
            candidates=known["summary"]["candidates"],
            candidates_accuracy=known["summary"]["accuracy"],
            **cls.shared_fields(known),
        )

    def _row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        item = self.items[row["image"]]
        about = {"schema_version": self.version, "file": item.name, "label": item.label}
        empty = {name: "" for name, value in row.items() if isinstance(value, float) and not isfinite(value)}
        return {**row, **about, **empty}


def _of_version_1(content: Mapping[str, Any]) -> dict[str, Any]:
    run = content["comparison"]
    model = {**content["model"], "fingerprint": run.get("model", "")}
    named = {"items": content["images"], "images": content["images_from"], "model": model, "classes": {}}
    return {**content, **named, "versions": run.get("versions", {})}
