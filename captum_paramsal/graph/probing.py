"""Inputs that a model itself tells of, for what has to be known of it before it ever ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.graph.network import Network

_SIDES = (64, 32, 224, 16, 8, 28, 128, 256)
"""Sizes that are tried for a model that does not tell its own, cheap ones first."""

EXAMPLES = 2


def probed_network(model: nn.Module) -> Network | None:
    """The network that runs on made-up inputs; None where none that the model tells of runs.

    A preview: what it says is checked against the first run on real inputs.

    Args:
        model: The model, in evaluation mode; left as it is.
    """
    for inputs in _likely_inputs(model):
        try:
            with torch.random.fork_rng(devices=[]):
                return Network.of(model, inputs)
        except Exception:  # noqa: BLE001, PERF203, S112 -- the model's own code, on a shape that it may not take
            continue
    return None


def _likely_inputs(model: nn.Module) -> Iterator[Tensor]:
    weight = next((one for one in model.parameters()), None)
    if weight is None:
        return
    options: dict[str, Any] = {"device": weight.device}
    if weight.is_floating_point():
        options["dtype"] = weight.dtype
    for shape in dict.fromkeys(_likely_shapes(model)):
        yield torch.rand(EXAMPLES, *shape, generator=None, **options)


def _likely_shapes(model: nn.Module) -> Iterator[tuple[int, ...]]:
    """Shapes of one example: from the model's own description, or from the first layer with weights."""
    described = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if isinstance(described, Mapping) and described.get("input_size"):
        yield tuple(described["input_size"])
    config = getattr(model, "config", None)
    side = getattr(config, "image_size", None) or getattr(model, "image_size", None)
    if isinstance(side, int):
        yield (getattr(config, "num_channels", 3), side, side)
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.modules.conv._ConvNd):  # noqa: SLF001 -- the base of all convolutions
            for size in _SIDES:
                yield (module.in_channels, *[size] * len(module.kernel_size))
            return
        if isinstance(module, nn.Linear) and isinstance(weight, Tensor):
            yield (module.in_features,)
            return
