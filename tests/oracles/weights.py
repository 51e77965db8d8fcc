"""Seeded random weights with which a network behaves like a trained one: nothing zero, nothing exploding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def seeded(model: nn.Module, *example: Tensor, seed: int = 0) -> nn.Module:
    """Draw every parameter anew and let batch normalisation see one batch; returns the model in evaluation mode.

    Networks as torchvision builds them have zeros where gradients must pass (the head of ViT, ConvNeXt's layer
    scale of 1e-6), and a freshly drawn deep network in evaluation mode explodes unless its running statistics are its
    own.

    Args:
        model: Changed in place.
        *example: A batch of at least two that the model takes; needed for batch normalisation only.
        seed: Of a generator of its own.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim >= 2:
            parameter.copy_(noise * math.sqrt(2 / parameter[0].numel()))
        else:
            parameter.copy_(noise * 0.1)
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim == 1:
            weight.add_(1)
    model.eval()
    _calibrate([m for m in model.modules() if isinstance(m, _BatchNorm)], lambda: model(*example))
    return model.eval()


def _calibrate(norms: list[_BatchNorm], forward: Callable[[], Any]) -> None:
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    forward()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
