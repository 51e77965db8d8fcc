"""What a report on two checkpoints says: images that only one gets right, and what differs there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from typing_extensions import Self

from captum_paramsal.models_compared import ImageDifferences, ModelComparison
from captum_paramsal.report.shared.codec import from_json
from captum_paramsal.report.shared.folder import SHARED_FILES
from captum_paramsal.report.shared.report import Report
from captum_paramsal.stats import mcnemar

COMPARISON_FILE = "models.safetensors"
DIFFERENCES_FILE = "differences.safetensors"
GROUP_WORDS = {"only_a": "right in A only", "only_b": "right in B only", "both": "right in both"}
TOP = 10
"""Filters that are listed."""
_LISTED = 12
"""Images of a group that are listed."""


@dataclass(frozen=True)
class AnsweredImage:
    """An image that only one of two checkpoints gets right.

    Attributes:
        file: Its name.
        label: Its true class.
        predicted_a: What A says.
        confidence_a: Softmax probability of that.
        predicted_b: What B says.
        confidence_b: Softmax probability of that.
        number: Its place among the images that were compared; None for one that was not.
    """

    file: str
    label: int
    predicted_a: int
    confidence_a: float
    predicted_b: int
    confidence_b: float
    number: int | None = None

    @property
    def group(self) -> str:
        """Which of the checkpoints gets it right, ``"only_a"`` or ``"only_b"``."""
        return "only_a" if self.predicted_a == self.label else "only_b"

    @property
    def wrong(self) -> tuple[int, float]:
        """What the checkpoint that is wrong says, and its confidence."""
        if self.group == "only_a":
            return self.predicted_b, self.confidence_b
        return self.predicted_a, self.confidence_a


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelComparisonData(Report):
    """Two checkpoints, A and B, on labelled images.

    Attributes:
        comparison: Weights and losses, on some images of each kind.
        differences: Neurons, pixels and saliency, on some of these.
        names: Of the images of ``comparison``.
        answered: Every image that only one gets right.
        both: How many images both get right.
        neither: How many neither does.
        candidates: How many images there are to choose from.
    """

    kind: ClassVar[str] = "compare_models"
    schema: ClassVar[str] = "captum_paramsal.compare_models"
    version: ClassVar[int] = 1
    data_file: ClassVar[str] = "models.json"
    files: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            data_file: "every number on the page",
            "filters.csv": "one row per filter, those that moved most first",
            "images.csv": "one row per image whose neurons and pixels were compared",
            "layers.csv": "one row per layer and group of images",
            COMPARISON_FILE: "weights and losses",
            DIFFERENCES_FILE: "neurons, pixels and saliency",
            "filters.png": "how far filters moved",
            "layers.png": "how many neurons both checkpoints select, layer by layer",
            **SHARED_FILES,
        }
    )
    context_keys: ClassVar[tuple[str, ...]] = ("versions", "model", "other", "images", "parameters")

    comparison: ModelComparison
    differences: ImageDifferences
    names: tuple[str, ...]
    answered: tuple[AnsweredImage, ...]
    both: int
    neither: int
    candidates: int

    @property
    def only_a(self) -> int:
        """How many images only A gets right."""
        return sum(image.group == "only_a" for image in self.answered)

    @property
    def only_b(self) -> int:
        """How many images only B gets right."""
        return len(self.answered) - self.only_a

    @property
    def image_count(self) -> int:
        """How many images were classified."""
        return len(self.answered) + self.both + self.neither

    @property
    def mistake_count(self) -> int:
        """How many of them A got wrong."""
        return self.only_b + self.neither

    @property
    def other_accuracy(self) -> float:
        """Share of the images that B classifies correctly."""
        return (self.both + self.only_b) / self.image_count

    @property
    def p_value(self) -> float:
        """Exact McNemar test of as many images that only A gets right as that only B does, two-sided."""
        return mcnemar(self.only_a, self.only_b)

    def turned(self, group: str) -> list[tuple[str, str, int]]:
        """True class, the wrong checkpoint's answer and how often, of a group's images; the most frequent first."""
        pairs = Counter((image.label, image.wrong[0]) for image in self.answered if image.group == group)
        often = sorted(pairs.items(), key=lambda entry: (-entry[1], entry[0]))
        return [(self.class_name(label), self.class_name(other), count) for (label, other), count in often]

    def listed(self, group: str) -> list[AnsweredImage]:
        """Those of a group's images that the wrong checkpoint is most confident about, of the compared ones."""
        images = [image for image in self.answered if image.group == group and image.number is not None]
        return sorted(images, key=lambda image: -image.wrong[1])[:_LISTED]

    @property
    def pictured(self) -> list[int]:
        """Places, among the compared images, of those that the page shows."""
        listed = [image.number for group in ("only_a", "only_b") for image in self.listed(group)]
        with_maps = self.differences.images[self.differences.kept].tolist()
        return list(dict.fromkeys([*with_maps, *(number for number in listed if number is not None)]))

    def summary(self) -> dict[str, Any]:
        """The figures that come first."""
        return {
            **super().summary(),
            "other_accuracy": self.other_accuracy,
            "only_a": self.only_a,
            "only_b": self.only_b,
            "both": self.both,
            "neither": self.neither,
            "p_value": self.p_value,
            "candidates": self.candidates,
        }

    def facts(self) -> dict[str, Any]:
        """What this kind has to say, by key."""
        comparison, differences = self.comparison, self.differences
        return {
            "filters": comparison.to_table(TOP),
            "filters_by_loss": comparison.to_table(TOP, by="loss") if len(comparison.only_a) else [],
            "loss": comparison.loss_table(),
            "moved_norms": comparison.moved_norms,
            "layers": differences.layer_table(),
            "similarity": differences.similarity_table(),
            "standing_out": self.standing_out(),
            "refused": differences.refused,
            "explained": self.explained_table(),
            "answered": self.answered,
            "compared": self.names,
        }

    def standing_out(self) -> list[dict[str, Any]]:
        """The filters that stand out most differently in both, by the group of images; none without a control."""
        groups = self.differences.group.unique().tolist()
        has_control = len(self.differences.of_group("both")) > 0
        return [
            {
                "group": group,
                "filter": str(shift.filter),
                "standing_a": shift.standing_a,
                "standing_b": shift.standing_b,
            }
            | {"difference": shift.difference, "control": shift.control}
            for number, group in enumerate(("only_a", "only_b"))
            if number in groups and has_control
            for shift in self.differences.shifts(TOP, group)
        ]

    def explained_table(self) -> list[dict[str, Any]]:
        """One row for each image whose neurons and pixels were compared, as ``images.csv`` has them."""
        return [{"file": self.names[row["image"]], **row} for row in self.differences.to_table()]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """Back from ``to_dict``, and the values of all filters, neurons and pixels beside it.

        Raises:
            KeyError, TypeError, ValueError: Something is missing, or of another kind.
            SourceError: A file beside it cannot be read.
        """
        summary = content["summary"]
        return cls(
            comparison=ModelComparison.load(folder / COMPARISON_FILE),
            differences=ImageDifferences.load(folder / DIFFERENCES_FILE),
            names=tuple(content["compared"]),
            answered=from_json(content["answered"], tuple[AnsweredImage, ...]),
            both=summary["both"],
            neither=summary["neither"],
            candidates=summary["candidates"],
            **cls.shared_fields(content),
        )
