"""What the channels show in images of each class, collected while images stream by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from random import Random
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.doctor.diagnosis import Diagnosis
from captum_paramsal.errors import InputError
from captum_paramsal.files import Fingerprint


@dataclass(frozen=True)
class Slot:
    """Where an image's correlation goes.

    Attributes:
        image: Number of the image in its batch.
        label: Its class.
        probability: Softmax probability of this class.
        slot: Place among the usual images of the class; None for none.
    """

    image: int
    label: int
    probability: float
    slot: int | None


@dataclass
class ClassSamples:
    """Keeps the most confident images of each class, and a random sample of all that the model is right about.

    Which ones depends on the order of the images, and not on how they are cut into batches.

    Attributes:
        confidence: Softmax probability that a sure image must have.
        kept: Confident images of each class that are kept, the most confident ones.
        usual: Images of each class in the random sample, at most.
        classes: Classes of the model; 0 before an image was seen.
    """

    confidence: float
    kept: int
    usual: int
    classes: int = 0
    _sure: dict[int, list[tuple[float, int, Tensor]]] = field(default_factory=lambda: defaultdict(list))
    _usual: dict[int, dict[int, Tensor]] = field(default_factory=lambda: defaultdict(dict))
    _seen: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    _random: Random = field(default_factory=lambda: Random(0))  # noqa: S311 -- draws a sample, keeps no secret
    _order: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1 or self.kept < 1 or self.usual < 0:
            message = (
                "Expected `confidence` in [0, 1], `samples_per_class` of at least 1 and `usual_per_class` of at least "
                f"0, got {self.confidence}, {self.kept} and {self.usual}."
            )
            raise InputError(message)

    def places(self, labels: Tensor, probabilities: Tensor) -> list[Slot]:
        """Images that are kept, before the work on them is done.

        Args:
            labels: Classes of images that the model is right about, ``(N,)``; -1 for others.
            probabilities: Softmax probability of each one's class, ``(N,)``.
        """
        slots = []
        for image, (label, probability) in enumerate(zip(labels.tolist(), probabilities.tolist(), strict=True)):
            slot = self._slot(label) if label >= 0 else None
            if slot is not None or (label >= 0 and self._is_surer(label, probability)):
                slots.append(Slot(image, label, probability, slot))
        return slots

    def add(self, place: Slot, correlation: Tensor) -> None:
        """Take the correlation of one image's channels in, ``(K,)``."""
        self._order -= 1  # of two as sure, the first is kept
        if place.slot is not None:
            self._usual[place.label][place.slot] = correlation
        if place.probability >= self.confidence:
            sure = self._sure[place.label]
            push = heappush if len(sure) < self.kept else heappushpop
            push(sure, (place.probability, self._order, correlation))

    def diagnosis(self, layer: str, settings: Mapping[str, Any], fingerprint: Fingerprint) -> Diagnosis:
        """What was collected.

        Raises:
            InputError: No class has a sure image.
        """
        kept = {label: sorted(sure, key=_by_surety) for label, sure in self._sure.items() if sure}
        rows = {label: [correlation for _, _, correlation in sure] for label, sure in kept.items()}
        if not rows:
            message = (
                f"Expected images that the model classifies correctly with a probability of at least {self.confidence}"
                ", got none. Lower `confidence`, or check that labels and preprocessing are those of the model."
            )
            raise InputError(message)
        channels = len(next(iter(rows.values()))[0])
        means = torch.full((self.classes, channels), torch.nan, dtype=torch.float64)
        counts = torch.zeros(self.classes, dtype=torch.long)
        for label, of_label in rows.items():
            means[label] = torch.stack(of_label).double().mean(dim=0)
            counts[label] = len(of_label)
        usual, labels = self._usual_rows(channels)
        return Diagnosis(layer, means, counts, usual, labels, settings, fingerprint)

    def _usual_rows(self, channels: int) -> tuple[Tensor, Tensor]:
        """Correlations ``(R, K)`` and classes ``(R,)`` of the random sample, by class."""
        usual = [(label, rows[slot]) for label, rows in sorted(self._usual.items()) for slot in sorted(rows)]
        if not usual:
            return torch.zeros(0, channels), torch.zeros(0, dtype=torch.long)
        return torch.stack([row for _, row in usual]), torch.tensor([label for label, _ in usual])

    def _slot(self, label: int) -> int | None:
        """Reservoir sampling (Vitter, 1985): every image seen so far is in the sample with the same chance."""
        self._seen[label] += 1
        if self._seen[label] <= self.usual:
            return self._seen[label] - 1
        slot = self._random.randrange(self._seen[label])
        return slot if slot < self.usual else None

    def _is_surer(self, label: int, probability: float) -> bool:
        sure = self._sure[label]
        return probability >= self.confidence and (len(sure) < self.kept or probability > sure[0][0])


def _by_surety(sample: tuple[float, int, Tensor]) -> tuple[float, int]:
    return sample[:2]
