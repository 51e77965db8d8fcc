"""A reference from labelled images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captum_paramsal.profiles import LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.report.shared.predictions import on_device, prepared
from captum_paramsal.sources import ImageSource


def fit_reference(
    model: nn.Module,
    images: ImageSource,
    positions: Sequence[int] | None = None,
    *,
    layers: LayerSelection | None = None,
    tail: float | None = 0.10,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    show_progress: bool = True,
) -> Reference:
    """Take the statistics of every filter over labelled images, correct and incorrect alike.

    In a ``torch.distributed`` group each process reads and scores its own share of the batches.

    Args:
        model: A classifier, left as it was.
        images: Labelled images; those that cannot be read are left out.
        positions: Which of them; all by default.
        layers: Layers to score, see :func:`captum_paramsal.profiles.layers.select_layers`.
        tail: Share of the images whose largest values are kept of every filter; None for moments alone.
        batch_size: Images per forward and backward pass; bounds memory, not the result.
        device: Where to compute; where the model is, if None.
        checkpoint: File that the pass is written to now and then, and goes on from.
        show_progress: Show a progress bar.

    Raises:
        ParamsalError: See :meth:`captum_paramsal.reference.reference.Reference.fit`.
    """
    wanted = list(range(len(images.items)) if positions is None else positions)
    with on_device(model, device) as place:
        return Reference.fit(
            model,
            _Batches(images, wanted, batch_size, model, place),
            layers=layers,
            tail=tail,
            total=len(wanted),
            checkpoint=checkpoint,
            show_progress=show_progress,
        )


@dataclass(frozen=True)
class _Batches:
    """Batches of labelled images, ready for the model, that a process can read its own share of."""

    images: ImageSource
    positions: Sequence[int]
    batch_size: int
    model: nn.Module
    device: torch.device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.share(0, 1)

    def share(self, rank: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        starts = range(rank * self.batch_size, len(self.positions), size * self.batch_size)
        own = [position for start in starts for position in self.positions[start : start + self.batch_size]]
        for batch in self.images.batches(self.batch_size, own) if own else ():
            yield prepared(batch, self.model, self.device)
