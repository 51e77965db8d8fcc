"""Methods that take regions of an image away."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from captum.attr import FeatureAblation
from torch import Tensor, nn

from captum_paramsal.comparison.presets.of_captum import image_by_image
from captum_paramsal.comparison.presets.registry import _Multiplying, register_preset, required
from captum_paramsal.metrics import InputMaps
from captum_paramsal.reference import Reference

SEGMENTS = 50
"""Regions that SLIC is asked for; it may make fewer."""


COMPACTNESS = 10.0
"""How much nearness counts against colour."""


REGIONS_AT_ONCE = 16
"""Copies of an image, each without a region, that run together."""


@register_preset(
    "segments",
    description="drop of the class score without each of about 50 regions of similar colour (SLIC)",
    by_default=False,
)
def _segments(model: nn.Module, _: Reference | None) -> InputMaps:
    slic = required("skimage.segmentation", "segments", "compare").slic
    method = FeatureAblation(model)

    def attribute(image: Tensor, target: Any, extra: Any) -> Tensor:
        with torch.no_grad():
            maps: Tensor = method.attribute(
                image,
                feature_mask=_regions(image, slic),
                target=target,
                additional_forward_args=extra,
                perturbations_per_eval=REGIONS_AT_ONCE,
            )
        return maps

    return InputMaps(_Multiplying(image_by_image(attribute)))


def _regions(image: Tensor, slic: Any) -> Tensor:
    """Number of the region of each pixel, ``(1, 1, H, W)``."""
    pixels = image[0].detach().permute(1, 2, 0).cpu().double().numpy()
    low, high = pixels.min(), pixels.max()
    # SLIC compares colours in Lab, which asks for numbers from 0 to 1.
    scaled = (pixels - low) / (high - low) if high > low else np.zeros_like(pixels)
    regions = slic(scaled, n_segments=SEGMENTS, compactness=COMPACTNESS, start_label=0, channel_axis=-1)
    return torch.from_numpy(np.ascontiguousarray(regions)).long()[None, None].to(image.device)
