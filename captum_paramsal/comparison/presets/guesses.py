"""What does not look at the model: baselines in the form of methods."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.comparison.presets.registry import register_preset
from captum_paramsal.metrics import InputMaps
from captum_paramsal.reference import Reference


def _centre(inputs: Tensor, target: Any = None, additional_forward_args: Any = None) -> Tensor:  # noqa: ARG001
    """Highest in the middle, falling to the corners: what a method must beat where objects are central."""
    height, width = inputs.shape[-2:]
    rows, columns = (torch.linspace(-1, 1, size, dtype=inputs.dtype, device=inputs.device) for size in (height, width))
    return torch.exp(-2 * (rows[:, None] ** 2 + columns**2)).expand_as(inputs).contiguous()


def _random(inputs: Tensor, target: Any = None, additional_forward_args: Any = None) -> Tensor:  # noqa: ARG001
    """Noise, the same for every image: what a method must beat everywhere."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(inputs.shape[-2:], generator=generator).to(inputs)
    return noise.expand_as(inputs).contiguous()


# Like the maps of layers that they are compared with, they say how much of the score lies where.
for _guess in (_centre, _random):
    _guess.multiplies_by_inputs = True  # type: ignore[attr-defined] # functions have what one gives them


@register_preset("centre", description="a bump in the middle of the image", by_default=False)
def _centre_preset(_: nn.Module, __: Reference | None) -> InputMaps:
    return InputMaps(_centre)


@register_preset("random", description="noise")
def _random_preset(_: nn.Module, __: Reference | None) -> InputMaps:
    return InputMaps(_random)
