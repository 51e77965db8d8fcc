"""The pixels that drive the guilty filters of a mistake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from captum_paramsal.attr import InputSpaceSaliency
from captum_paramsal.errors import ParamsalError
from captum_paramsal.report.explain.mistakes import ScoringPass
from captum_paramsal.sources import Picture, SourceBatch
from captum_paramsal.sources.pictures import encode_overlay
from captum_paramsal.viz import decoded, pixel_overlay


@dataclass(frozen=True)
class PixelMaps:
    """Pixel maps by position of their image.

    Attributes:
        pictures: The maps over their images, for people; without those of images that have no picture, or whose map
            is 0 everywhere.
        gradients: The maps themselves, signed, in the shape of the model's input; empty unless kept.
    """

    pictures: dict[int, Picture] = field(default_factory=dict)
    gradients: dict[int, Tensor] = field(default_factory=dict)


def trace_pixels(
    scoring: ScoringPass, positions: Sequence[int], pictures: dict[int, Picture], *, keep: bool
) -> PixelMaps:
    """Trace the guilty filters of some images back to their pixels.

    Args:
        scoring: Model, method and images.
        positions: Which images.
        pictures: What they look like, of those that can be shown.
        keep: Keep the maps themselves too.

    Raises:
        ParamsalError: The model cannot be differentiated twice.
    """
    tracer = InputSpaceSaliency(scoring.saliency, top_k=scoring.top_k)

    def traced(batch: SourceBatch) -> PixelMaps:
        maps = PixelMaps()
        for position, gradients in zip(batch.positions, _traced(tracer, batch.inputs, batch.labels), strict=True):
            if keep:
                maps.gradients[position] = gradients
            if position in pictures and gradients.ndim == 3 and gradients.isfinite().all() and gradients.any():
                picture = pictures[position]
                overlay = pixel_overlay(decoded(picture.data, picture.mime), gradients)
                maps.pictures[position] = encode_overlay(overlay)
        return maps

    whole = PixelMaps()
    for _, maps in scoring.made(traced, positions, "pixels"):
        whole.pictures.update(maps.pictures)
        whole.gradients.update(maps.gradients)
    return whole


def _traced(tracer: InputSpaceSaliency, inputs: Tensor, labels: Tensor) -> Tensor:
    try:
        gradients: Tensor = tracer.attribute(inputs, target=labels)
    except RuntimeError as error:
        if isinstance(error, (ParamsalError, torch.OutOfMemoryError)):
            raise
        message = f"Expected a model that can be differentiated twice, for pixel maps; leave them out, got: {error}"
        raise ParamsalError(message) from error
    return gradients.detach().float().cpu()
