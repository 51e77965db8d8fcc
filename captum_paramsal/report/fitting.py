"""A reference from labelled images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from captum_paramsal.layers import LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.report.predicting import on_device, prepared
from captum_paramsal.sources import ImageSource

__all__ = ["fit_reference"]


def fit_reference(
    model: nn.Module,
    images: ImageSource,
    positions: Sequence[int] | None = None,
    *,
    layers: LayerSelection | None = None,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    show_progress: bool = True,
) -> Reference:
    """Take the statistics of every filter over labelled images, correct and incorrect alike.

    Args:
        model: A classifier, left as it was.
        images: Labelled images; those that cannot be read are left out.
        positions: Which of them; all by default.
        layers: Layers to score, see :func:`captum_paramsal.layers.select_layers`.
        batch_size: Images per forward and backward pass; bounds memory, not the result.
        device: Where to compute; where the model is, if None.
        show_progress: Show a progress bar.

    Raises:
        ParamsalError: See :meth:`captum_paramsal.reference.Reference.fit`.
    """

    def batches(place: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in images.batches(batch_size, positions):
            yield prepared(batch, model, place)

    with on_device(model, device) as place:
        total = len(images.items if positions is None else positions)
        return Reference.fit(model, batches(place), layers=layers, total=total, show_progress=show_progress)
