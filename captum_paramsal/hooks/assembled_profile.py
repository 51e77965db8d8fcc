"""The profiles of single layers, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from captum_paramsal.functional.profile import accumulation_type
from captum_paramsal.hooks.filter_layer import FilterLayer


def assemble_profile(
    layers: Mapping[str, FilterLayer], profiles: Mapping[str, Tensor], count: int, like: Tensor
) -> Tensor:
    """Profiles ``(N, F)`` of all layers, in their order; 0 for a layer that no gradient reached.

    Args:
        layers: Layers that are scored.
        profiles: Those that a gradient reached, ``(N, O)`` each.
        count: Examples in the batch.
        like: A tensor of the device and the type that the profile is wanted in.
    """
    dtype = accumulation_type(like.dtype)
    parts = [
        profiles[name].to(device=like.device, dtype=dtype)
        if name in profiles
        else torch.zeros(count, layer.count, dtype=dtype, device=like.device)
        for name, layer in layers.items()
    ]
    return torch.cat(parts, dim=1)
