"""A reference from labelled images."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import nn

from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.profiles import LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.report.shared.predictions import on_device, require_classes
from captum_paramsal.sources import ImageSource, SourceBatches


def fit_reference(
    model: nn.Module,
    images: ImageSource,
    positions: Sequence[int] | None = None,
    *,
    layers: LayerSelection | None = None,
    tail: float | None = 0.10,
    exemplars: int | None = None,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    show_progress: bool = True,
    output: Output | None = None,
) -> Reference:
    """Take the statistics of every filter over labelled images, correct and incorrect alike.

    In a ``torch.distributed`` group each process reads and scores its own share of the batches.

    Args:
        model: A classifier, left as it was.
        images: Labelled images; those that cannot be read are left out.
        positions: Which of them; all by default.
        layers: Layers to score, see :func:`captum_paramsal.profiles.layers.select_layers`.
        tail: Share of the images whose largest values are kept of every filter; None for none.
        exemplars: Images that are kept of each filter, where it is most active; None for none.
        batch_size: Images per forward and backward pass; bounds memory, not the result.
        device: Where to compute; where the model is, if None.
        checkpoint: File that the pass is written to now and then, and that the pass resumes from.
        show_progress: Show a progress bar.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        ParamsalError: See :meth:`captum_paramsal.reference.reference.Reference.fit`.
    """
    model = scored_model(model, output)
    with on_device(model, device) as place:
        require_classes(model, images, positions, device=place)
        batches = SourceBatches(images, model, positions, batch_size, place)
        return Reference.fit(
            model,
            batches,
            layers=layers,
            tail=tail,
            exemplars=exemplars,
            total=len(batches.wanted),
            checkpoint=checkpoint,
            show_progress=show_progress,
        )
