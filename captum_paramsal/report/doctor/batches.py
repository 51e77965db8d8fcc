"""Labelled images in batches that are gone through again and again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from captum_paramsal.repair import foreground
from captum_paramsal.report.shared.predictions import prepared
from captum_paramsal.sources import ImageSource, SourceBatch


@dataclass(frozen=True)
class SourceBatches:
    """Inputs and labels of some images, ready for the model.

    Attributes:
        images: Labelled images.
        positions: Which of them.
        batch_size: Images per batch.
        model: Whose precision and device they take.
        device: Where it is.
    """

    images: ImageSource
    positions: Sequence[int]
    batch_size: int
    model: nn.Module
    device: torch.device

    def __len__(self) -> int:
        return ceil(len(self.positions) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for batch in self.images.batches(self.batch_size, self.positions):
            yield prepared(batch, self.model, self.device)


@dataclass(frozen=True)
class TrainingBatches(SourceBatches):
    """The same in random order, as torch's global random numbers have it, with what is foreground in them.

    Attributes:
        margin: Pixels that objects are expanded by; see :func:`captum_paramsal.repair.treatment.foreground`.
        annotated: Whether to look for objects at all.
    """

    margin: int | None = None
    annotated: bool = True

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        order = [self.positions[place] for place in torch.randperm(len(self.positions)).tolist()]
        for batch in self.images.batches(self.batch_size, order):
            inputs, labels = prepared(batch, self.model, self.device)
            yield (inputs, labels, self._foreground(batch)) if self.annotated else (inputs, labels)

    def _foreground(self, batch: SourceBatch) -> Tensor:
        masks = [self.images.mask(position) for position in batch.positions]
        size = (batch.inputs.shape[-2], batch.inputs.shape[-1])
        return foreground(size, masks=masks, margin=self.margin)
