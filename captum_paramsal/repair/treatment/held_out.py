"""What a model gets right on held-out images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.functional import cross_entropy
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.repair.treatment.training_items import naming, require_some, same_every_time, scores_of


@dataclass(frozen=True, eq=False)
class HeldOutPredictions:
    """Predictions for held-out images.

    Attributes:
        labels: ``(N,)`` int64.
        predictions: ``(N,)`` int64.
        confidence: Softmax probability of the prediction, ``(N,)`` float64.
        loss: Mean cross entropy in nats.
        classes: Classes of the model.
    """

    labels: Tensor
    predictions: Tensor
    confidence: Tensor
    loss: float
    classes: int

    @classmethod
    def of(cls, model: nn.Module, batches: Iterable[Any], name: str) -> HeldOutPredictions:
        """Run a model, which is left as it was, in evaluation mode.

        Args:
            model: The classifier.
            batches: Batches (inputs, labels); whatever they draw at random is drawn the same way each time.
            name: What the batches are called in messages.

        Raises:
            InputError: No batches, or images that the model cannot take.
            TargetError: Labels that do not name one class of the model per image.
        """
        rows: list[tuple[Tensor, Tensor]] = []
        with frozen_eval(model, gradients=False), same_every_time(batches, model, name) as checked:
            for number, batch in enumerate(checked):
                with naming(number, name):
                    rows.append((scores_of(model, batch).double().cpu(), batch.labels.cpu()))
        require_some(len(rows), name)
        scores, labels = (torch.cat(parts) for parts in zip(*rows, strict=True))
        confidence, predictions = scores.softmax(dim=1).max(dim=1)
        return cls(labels, predictions, confidence, cross_entropy(scores, labels).mean().item(), scores.shape[1])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def right(self) -> Tensor:
        """Which images are classified correctly, ``(N,)`` bool."""
        return self.predictions == self.labels

    @property
    def accuracy(self) -> float:
        """Share of the images that are classified correctly."""
        return self.right.double().mean().item()

    def accuracy_per_class(self) -> Tensor:
        """Share of each class's images that are classified correctly, ``(classes,)`` float64; NaN without images.

        >>> labels, predicted = torch.tensor([0, 0, 2]), torch.tensor([0, 1, 2])
        >>> HeldOutPredictions(labels, predicted, torch.ones(3), 0.0, 3).accuracy_per_class()
        tensor([0.5000,    nan, 1.0000], dtype=torch.float64)
        """
        right = torch.bincount(self.labels[self.right], minlength=self.classes).double()
        return right / self.images_per_class()

    def images_per_class(self) -> Tensor:
        """How many images each class has, ``(classes,)`` int64."""
        return torch.bincount(self.labels, minlength=self.classes)
