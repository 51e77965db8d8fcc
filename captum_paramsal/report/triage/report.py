"""All mistakes of labelled images, sorted: a value that can be saved and shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captum_paramsal.files import as_csv, as_json, open_folder, write_atomically
from captum_paramsal.report.shared.report import class_name
from captum_paramsal.report.triage.groups import wanted_change
from captum_paramsal.report.triage.page import render
from captum_paramsal.report.triage.pictures import figures
from captum_paramsal.sources import Item, Picture, Skipped
from captum_paramsal.triage import GuiltyFilter, Triage

_SCHEMA = "captum_paramsal.triage"
_VERSION = 1
_OF_FILTERS = ("score", "coherence", "excess", "pull", "superiority", "q_value")
_FILTER_COLUMNS = ("schema_version", "group", "mistakes", "rank", "filter", *_OF_FILTERS)
_MISTAKE_COLUMNS = ("schema_version", "file", "label", "predicted", "confidence", "group", "likeness")


@dataclass(frozen=True, eq=False)
class TriageReport:
    """A triage with the names of its images and classes.

    Attributes:
        triage: The result.
        items: The image of each of its mistakes.
        images: How many were sorted, right and wrong.
        candidates: How many there are to choose from.
        skipped: Files that were left out.
        classes: Names of the classes, as far as known.
        remarks: What a reader should know before believing a number.
        context: Model, images, reference, settings and versions, as JSON has them.
        pictures: Of the mistakes that are shown, by number; not saved as data.
    """

    triage: Triage
    items: tuple[Item, ...]
    images: int
    candidates: int
    skipped: tuple[Skipped, ...]
    classes: Mapping[int, str]
    remarks: tuple[str, ...]
    context: Mapping[str, Any]
    pictures: Mapping[int, Picture] = field(default_factory=dict, repr=False)

    @property
    def accuracy(self) -> float:
        """Share of the images that the model gets right."""
        return 1 - len(self.triage) / self.images

    def class_name(self, number: int) -> str:
        """Name of a class, or "class 17" where it has none."""
        return class_name(self.classes, number)

    def pairs_among(self, numbers: Iterable[int]) -> list[tuple[str, str, int]]:
        """True and predicted class, and how often, among some of the mistakes; the most frequent first."""
        labels, predicted = self.triage.labels, self.triage.predicted
        pairs = Counter((int(labels[number]), int(predicted[number])) for number in numbers)
        often = sorted(pairs.items(), key=lambda entry: (-entry[1], entry[0]))
        return [(self.class_name(label), self.class_name(other), count) for (label, other), count in often]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the values of all filters and the pictures, as JSON takes it."""
        found = self.triage
        return {
            "schema": _SCHEMA,
            "schema_version": _VERSION,
            **self.context,
            "summary": {
                "images": self.images,
                "mistakes": len(found),
                "accuracy": self.accuracy,
                "candidates": self.candidates,
                "skipped": len(self.skipped),
                "filters": len(found.filters),
                "significant_filters": int(found.significant.sum()),
                "compared_within": found.context["compared within"],
                "compared_mistakes": found.context["compared mistakes"],
                "groups": found.group_count,
                "mistakes_in_no_group": int((found.groups < 0).sum()),
            },
            "remarks": list(self.remarks),
            "classes": {str(number): name for number, name in sorted(self.classes.items())},
            "confusion_pairs": [vars(pair) for pair in found.confusion_pairs()],
            "significant_filters": self.significant_filters(),
            "all_mistakes": [_filter(rank, one) for rank, one in enumerate(found.guilty(), 1)],
            "groups": [self._group(number) for number in range(found.group_count)],
            "skipped": [{"file": skip.name, "reason": skip.reason} for skip in self.skipped],
        }

    def significant_filters(self) -> list[dict[str, Any]]:
        """Filters that are more salient in mistakes than in right images, the surest first."""
        found = self.triage
        own = found.significant.nonzero()[:, 0].tolist()
        own.sort(key=lambda place: (float(found.q_values[place]), -float(found.superiority[place])))
        return [
            {
                "filter": str(found.filters[place]),
                "superiority": float(found.superiority[place]),
                "q_value": float(found.q_values[place]),
            }
            for place in own
        ]

    def mistakes_table(self) -> list[dict[str, Any]]:
        """One row per mistake, as ``mistakes.csv`` has them; group and likeness are None where it is in none."""
        found = self.triage
        rows = []
        for number, item in enumerate(self.items):
            grouped = int(found.groups[number]) >= 0
            rows.append(
                {
                    "schema_version": _VERSION,
                    "file": item.name,
                    "label": int(found.labels[number]),
                    "predicted": int(found.predicted[number]),
                    "confidence": float(found.confidence[number]),
                    "group": int(found.groups[number]) if grouped else None,
                    "likeness": float(found.likeness[number]) if grouped else None,
                }
            )
        return rows

    def write(self, out_dir: str | Path) -> Path:
        """Write data, figures and ``report.html``, each whole or not.

        Returns:
            Path of the report.

        Raises:
            SourceError: The folder cannot be written to.
            TriageFileError: ``triage.safetensors`` cannot be written.
        """
        folder = open_folder(out_dir)
        # Before the data that names it.
        self.triage.save(folder / "triage.safetensors")
        filters = [{"schema_version": _VERSION, **row} for row in self.triage.to_table()]
        contents: dict[str, str | bytes] = {
            "triage.json": as_json(self.to_dict()),
            "triage.csv": as_csv(filters, _FILTER_COLUMNS),
            "mistakes.csv": as_csv(self.mistakes_table(), _MISTAKE_COLUMNS),
            **figures(self),
            "report.html": render(self),
        }
        write_atomically(folder, contents)
        return folder / "report.html"

    def _group(self, number: int) -> dict[str, Any]:
        found = self.triage
        members = found.members(number)
        return {
            "group": number,
            "mistakes": len(members),
            "likeness": float(found.likeness[members].mean()),
            "filters": [_filter(rank, one) for rank, one in enumerate(found.guilty(number), 1)],
            "files": [self.items[place].name for place in members.tolist()],
        }


def _filter(rank: int, one: GuiltyFilter) -> dict[str, Any]:
    place = {"rank": rank, "layer": one.filter.layer, "index": one.filter.index, "part": one.filter.part}
    return {**place, **{name: getattr(one, name) for name in _OF_FILTERS}, "wanted": wanted_change(one)}
