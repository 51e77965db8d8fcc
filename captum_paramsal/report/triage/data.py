"""What a triage report says: all mistakes of labelled images, with the names of images and classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from typing_extensions import Self

from captum_paramsal.repair import Cure, GroupCures, Patch
from captum_paramsal.report.shared.codec import from_json
from captum_paramsal.report.shared.folder import SHARED_FILES
from captum_paramsal.report.shared.report import Report
from captum_paramsal.report.triage.label_doubts import LabelDoubts
from captum_paramsal.sources import Item
from captum_paramsal.triage import GuiltyFilter, Triage

VALUES_FILE = "triage.safetensors"
PATCH_FILE = "group-{}.patch.safetensors"
OF_DOUBTS = ("doubt", "suggested", "likely_wrong")
OF_FILTERS = ("score", "coherence", "excess", "pull", "superiority", "q_value")


@dataclass(frozen=True, eq=False, kw_only=True)
class TriageData(Report):
    """A triage with the names of its images and classes.

    Attributes:
        triage: The result.
        items: The image of each of its mistakes.
        images: How many images were sorted, mistakes and correct ones.
        candidates: How many images there are to choose from.
        cures: A cure for each group, kept or not; None where none was looked for.
        doubts: What speaks against the labels of the mistakes.
    """

    kind: ClassVar[str] = "triage"
    schema: ClassVar[str] = "captum_paramsal.triage"
    version: ClassVar[int] = 2
    data_file: ClassVar[str] = "triage.json"
    files: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            data_file: "every number on the page",
            "triage.csv": "the guiltiest filters of all mistakes and of every group",
            "mistakes.csv": "one row per mistake",
            "cures.csv": "one row per group that a cure was looked for",
            VALUES_FILE: "the triage, with the values of all filters",
            "confusion.png": "which classes are taken for which",
            "filters.png": "how much each filter stands out",
            **SHARED_FILES,
        }
    )
    numbered: ClassVar[Mapping[str, str]] = MappingProxyType(
        {PATCH_FILE.format("*"): "what the cure of the group of this number changes"}
    )
    former_keys: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"remarks": "caveats", "likeness": "similarity", "mistakes_in_no_group": "ungrouped"}
    )
    context_keys: ClassVar[tuple[str, ...]] = ("versions", "model", "images", "reference", "parameters")

    triage: Triage
    items: tuple[Item, ...]
    images: int
    candidates: int
    cures: GroupCures | None = None
    doubts: LabelDoubts = field(default_factory=LabelDoubts)

    @property
    def image_count(self) -> int:
        """How many images were sorted."""
        return self.images

    @property
    def mistake_count(self) -> int:
        """How many of them the model got wrong."""
        return len(self.triage)

    @property
    def compared_within(self) -> str:
        """What mistakes were compared with: correct images of their "classes", or "all images"."""
        return str(self.triage.context["compared_within"])

    @property
    def compared_mistakes(self) -> int:
        """Mistakes that were compared with correct images."""
        return int(self.triage.context["compared_mistakes"])

    def pairs_among(self, numbers: Iterable[int]) -> list[tuple[str, str, int]]:
        """True and predicted class, and how often, among some of the mistakes; the most frequent first."""
        labels, predicted = self.triage.labels, self.triage.predicted
        pairs = Counter((int(labels[number]), int(predicted[number])) for number in numbers)
        often = sorted(pairs.items(), key=lambda entry: (-entry[1], entry[0]))
        return [(self.class_name(label), self.class_name(other), count) for (label, other), count in often]

    def neighbors_of(self, number: int) -> list[tuple[int, float]]:
        """Numbers of the mistakes that are most similar to one, nearest first, and their similarities."""
        triage = self.triage
        if triage.neighbors is None or triage.neighbor_similarity is None:
            return []
        return list(zip(triage.neighbors[number].tolist(), triage.neighbor_similarity[number].tolist(), strict=True))

    def summary(self) -> dict[str, Any]:
        """The figures that come first."""
        triage = self.triage
        return {
            **super().summary(),
            "candidates": self.candidates,
            "filters": len(triage.filters),
            "significant_filters": int(triage.significant.sum()),
            "compared_within": self.compared_within,
            "compared_mistakes": self.compared_mistakes,
            "groups": triage.group_count,
            "ungrouped": int((triage.groups < 0).sum()),
        }

    def facts(self) -> dict[str, Any]:
        """What this kind has to say, by key."""
        return {
            "confusion_pairs": self.triage.confusion_pairs(),
            "significant_filters": self.significant_filters(),
            "all_mistakes": _ranked(self.triage.guilty()),
            "label_doubts": self.doubts,
            "groups": [self._group(number) for number in range(self.triage.group_count)],
            "mistakes": self.mistakes_table(),
            **({} if self.cures is None else {"cures": self._cures(self.cures)}),
        }

    def _cures(self, cures: GroupCures) -> list[dict[str, Any]]:
        return [
            {"group": number, "patch": PATCH_FILE.format(number) if one.kept else None, **one.to_dict()}
            for number, one in enumerate(cures.cures)
        ]

    def significant_filters(self) -> list[dict[str, Any]]:
        """Filters that are more salient in mistakes than in correct images, the most significant first."""
        triage = self.triage
        places = triage.significant.nonzero()[:, 0].tolist()
        places.sort(key=lambda place: (float(triage.q_values[place]), -float(triage.superiority[place])))
        return [
            {
                "filter": str(triage.filters[place]),
                "superiority": float(triage.superiority[place]),
                "q_value": float(triage.q_values[place]),
            }
            for place in places
        ]

    def mistakes_table(self) -> list[dict[str, Any]]:
        """One row per mistake, as ``mistakes.csv`` has them; group and similarity are None where it is in none.

        The nearest mistake is None where there is no other, or in a report of an earlier version; what speaks against
        the label where nothing is known.
        """
        triage, doubts = self.triage, self.doubts.of_mistakes
        rows = []
        for number, item in enumerate(self.items):
            nearest = self.neighbors_of(number)[:1]
            grouped = int(triage.groups[number]) >= 0
            rows.append(
                {
                    "file": item.name,
                    "label": int(triage.labels[number]),
                    "predicted": int(triage.predicted[number]),
                    "confidence": float(triage.confidence[number]),
                    "group": int(triage.groups[number]) if grouped else None,
                    "similarity": float(triage.similarity[number]) if grouped else None,
                    "nearest": self.items[nearest[0][0]].name if nearest else None,
                    "nearest_similarity": nearest[0][1] if nearest else None,
                    **{name: getattr(doubts[number], name) if doubts else None for name in OF_DOUBTS},
                }
            )
        return rows

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """Back from ``to_dict``, and the values of all filters beside it; version 1 does not name every mistake.

        Raises:
            KeyError, TypeError, ValueError: Something is missing, or of another kind.
            TriageFileError: ``triage.safetensors`` cannot be read.
            PatchError: The patch of a group cannot be read.
        """
        listed = content.get("cures")
        return cls(
            triage=Triage.load(folder / VALUES_FILE),
            items=tuple(Item(row["file"], row["label"]) for row in content["mistakes"]),
            images=content["summary"]["images"],
            candidates=content["summary"]["candidates"],
            cures=None if listed is None else GroupCures(tuple(_cure_of(one, folder) for one in listed)),
            doubts=from_json(content.get("label_doubts", {}), LabelDoubts),
            **cls.shared_fields(content),
        )

    def _group(self, number: int) -> dict[str, Any]:
        members = self.triage.members(number)
        return {
            "group": number,
            "mistakes": len(members),
            "similarity": float(self.triage.similarity[members].mean()),
            "filters": _ranked(self.triage.guilty(number)),
            "files": [self.items[place].name for place in members.tolist()],
        }


def _cure_of(content: Mapping[str, Any], folder: Path) -> Cure:
    name = content["patch"]
    return Cure.from_dict(content, None if name is None else Patch.load(folder / name))


def wanted_change(guilty: GuiltyFilter) -> str:
    """What would lower the loss of the mistakes."""
    return "weaker" if guilty.pull > 0 else "stronger" if guilty.pull < 0 else "neither"


def _ranked(filters: Sequence[GuiltyFilter]) -> list[dict[str, Any]]:
    return [
        {"rank": rank, "layer": guilty.filter.layer, "index": guilty.filter.index, "part": guilty.filter.part}
        | {name: getattr(guilty, name) for name in OF_FILTERS}
        | {"wanted": wanted_change(guilty)}
        for rank, guilty in enumerate(filters, 1)
    ]
