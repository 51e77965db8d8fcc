"""What the channels show in images of each class, collected while images stream by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.diagnosis import Diagnosis
from captum_paramsal.errors import InputError
from captum_paramsal.fingerprint import Fingerprint

__all__ = ["ClassSamples"]


@dataclass
class ClassSamples:
    """Keeps the surest images of each class, and some that are like any other.

    Attributes:
        confidence: Softmax probability that a sure image must have.
        surest: Sure images of each class that are kept, the surest ones.
        usual: Images of each class that are kept whatever the probability, the first ones.
        classes: Classes of the model; 0 before an image was seen.
    """

    confidence: float
    surest: int
    usual: int
    classes: int = 0
    _sure: dict[int, list[tuple[float, int, Tensor]]] = field(default_factory=lambda: defaultdict(list))
    _usual: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    _order: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1 or self.surest < 1 or self.usual < 0:
            message = (
                "Expected `confidence` in [0, 1], `samples_per_class` of at least 1 and `usual_per_class` of at least "
                f"0, got {self.confidence}, {self.surest} and {self.usual}."
            )
            raise InputError(message)

    def wanted(self, labels: Tensor, probabilities: Tensor) -> Tensor:
        """Numbers of the images that would be kept, ``(M,)``.

        Args:
            labels: Classes of images that the model is right about, ``(N,)``; -1 for others.
            probabilities: Softmax probability of each one's class, ``(N,)``.
        """
        pairs = enumerate(zip(labels.tolist(), probabilities.tolist(), strict=True))
        kept = [i for i, (label, probability) in pairs if label >= 0 and self._wants(label, probability)]
        return torch.tensor(kept, dtype=torch.long)

    def add(self, label: int, probability: float, correlation: Tensor) -> None:
        """Take one image in: its class, the class's probability, its channels' correlation ``(K,)``."""
        self._order -= 1  # of two as sure, the first is kept
        if len(self._usual[label]) < self.usual:
            self._usual[label].append(correlation)
        if probability >= self.confidence:
            sure = self._sure[label]
            push = heappush if len(sure) < self.surest else heappushpop
            push(sure, (probability, self._order, correlation))

    def correlation(self) -> tuple[Tensor, Tensor]:
        """Mean correlation of the surest images ``(classes, K)`` float64, NaN without any, and how many they are.

        Raises:
            InputError: There is none at all.
        """
        rows = {label: [one for _, _, one in sorted(sure, key=lambda s: s[:2])] for label, sure in self._sure.items()}
        if not any(rows.values()):
            message = (
                f"Expected images that the model classifies correctly with a probability of at least {self.confidence}"
                ", got none. Lower `confidence`, or check that labels and preprocessing are those of the model."
            )
            raise InputError(message)
        channels = len(next(one for found in rows.values() for one in found))
        means = torch.full((self.classes, channels), torch.nan, dtype=torch.float64)
        counts = torch.zeros(self.classes, dtype=torch.long)
        for label, found in rows.items():
            means[label] = torch.stack(found).double().mean(dim=0)
            counts[label] = len(found)
        return means, counts

    def diagnosis(self, layer: str, settings: Mapping[str, Any], fingerprint: Fingerprint) -> Diagnosis:
        """What was collected.

        Raises:
            InputError: No class has a sure image.
        """
        means, counts = self.correlation()
        usual, labels = self.usual_rows(means.shape[1])
        return Diagnosis(layer, means, counts, usual, labels, settings, fingerprint)

    def usual_rows(self, channels: int) -> tuple[Tensor, Tensor]:
        """Correlations of the images kept to compare with ``(R, K)``, by class, and their classes ``(R,)``."""
        found = [(label, row) for label in sorted(self._usual) for row in self._usual[label]]
        if not found:
            return torch.zeros(0, channels), torch.zeros(0, dtype=torch.long)
        return torch.stack([row for _, row in found]), torch.tensor([label for label, _ in found])

    def _wants(self, label: int, probability: float) -> bool:
        sure = self._sure[label]
        surer = probability >= self.confidence and (len(sure) < self.surest or probability > sure[0][0])
        return surer or len(self._usual[label]) < self.usual
