"""What a treatment did to the images of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from captum_paramsal.report.shared.codec import from_json, to_json
from captum_paramsal.stats import mcnemar

Course: TypeAlias = list[Mapping[str, float | None]]
"""One row per epoch: mean loss, constraints, accuracy on the validation images; epoch 0 is the untreated model."""


@dataclass(frozen=True)
class Control:
    """Fine-tuning with the same budget and no constraint, on the same held-out images.

    Attributes:
        accuracy: Share of the images that it gets right.
        cured: Mistakes of the untreated model that it gets right.
        broken: The reverse.
        better: Images that it gets wrong and the treated model right.
        worse: The reverse.
        plain_epoch: The epoch of it that was kept, 0 for none.
        p_value: Exact McNemar test of as many better as worse, two-sided.
    """

    accuracy: float
    cured: int
    broken: int
    better: int
    worse: int
    p_value: float


@dataclass(frozen=True)
class TreatmentResult:
    """Predictions for held-out images before and after a treatment.

    Attributes:
        positions: Places of the images among the source's, N of them.
        files: Their names.
        labels: Their true classes.
        before: Predictions of the untreated model.
        after: Predictions of the treated one.
        confidence: Softmax probability of each prediction afterwards.
        plain: Those of a copy that was fine-tuned with the same budget and no constraint; None without one.
        plain_epoch: The epoch of it that was kept, 0 for none.
        p_value: Exact McNemar test of as many cured as broken, two-sided.
        best_epoch: The epoch that was kept; 0 where none was better than the untreated model.
        selected_on: What chose it: "validation", or "held-out" where the same images chose it that are counted here.
        history: What each epoch did.
        weights: Weight of each constraint in the loss.
        settings: How it was treated, as JSON has it.
    """

    positions: tuple[int, ...]
    files: tuple[str, ...]
    labels: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    confidence: tuple[float, ...]
    plain: tuple[int, ...] | None
    plain_epoch: int | None
    p_value: float
    best_epoch: int
    selected_on: str
    history: Course
    weights: Mapping[str, float]
    settings: Mapping[str, Any]

    @property
    def cured(self) -> tuple[int, ...]:
        """Which of the N images were mistaken and no longer are."""
        return self._turned(self.before, self.after)

    @property
    def broken(self) -> tuple[int, ...]:
        """Which of the N images were right and no longer are."""
        return self._turned(self.after, self.before)

    def _turned(self, wrong: Sequence[int], right: Sequence[int]) -> tuple[int, ...]:
        rows = enumerate(zip(self.labels, wrong, right, strict=True))
        return tuple(row for row, (label, one, other) in rows if one != label == other)

    @property
    def control(self) -> Control | None:
        """The copy without constraints beside the treated one; None without one."""
        if self.plain is None:
            return None
        better, worse = len(self._turned(self.plain, self.after)), len(self._turned(self.after, self.plain))
        return Control(
            accuracy=_share(self.labels, self.plain),
            cured=len(self._turned(self.before, self.plain)),
            broken=len(self._turned(self.plain, self.before)),
            better=better,
            worse=worse,
            p_value=mcnemar(better, worse),
        )

    @property
    def accuracy_before(self) -> float:
        """Share of the images that the untreated model gets right."""
        return _share(self.labels, self.before)

    @property
    def accuracy_after(self) -> float:
        """Share of the images that the treated model gets right."""
        return _share(self.labels, self.after)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, with what follows from it."""
        follows = {
            "cured": len(self.cured),
            "broken": len(self.broken),
            "control": self.control,
            "accuracy_before": self.accuracy_before,
            "accuracy_after": self.accuracy_after,
        }
        content: dict[str, Any] = to_json(follows) | to_json(self)
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TreatmentResult:
        """Back from JSON."""
        return from_json(content, cls)


def _share(labels: Sequence[int], predictions: Sequence[int]) -> float:
    return sum(a == b for a, b in zip(labels, predictions, strict=True)) / len(labels)
