"""Inputs of the kind that a model takes, as far as it tells: to learn its layers' shapes before any real input came."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

SIZES = (64, 32, 224, 28, 16, 96, 128, 256)
"""Sides of images that are tried, beside the one that the model names."""

TOKENS = 8
"""Tokens of a text."""


def synthetic_inputs(model: nn.Module) -> Iterator[Tensor]:
    """One example each, likely ones first; none where the model does not tell what it takes."""
    weight = next((parameter for parameter in model.parameters() if parameter.is_floating_point()), None)
    if weight is None:
        return
    # In the order in which they are registered: most models begin with what takes their input.
    firsts: dict[type[nn.Module], nn.Module] = {}
    for module in model.modules():
        for kind in (_ConvNd, nn.Embedding, nn.Linear):
            if isinstance(module, kind):
                firsts.setdefault(kind, module)
    for layer in firsts.values():
        yield from _for_layer(layer, weight, _own_size(model))


def _for_layer(layer: nn.Module, like: Tensor, side: tuple[int, ...]) -> Iterator[Tensor]:
    """Inputs of a model that begins with this layer."""
    if isinstance(layer, nn.Embedding):
        yield torch.ones(1, TOKENS, dtype=torch.int64, device=like.device)
    elif isinstance(layer, nn.Linear):
        yield _numbers((1, layer.in_features), like)
        yield _numbers((1, TOKENS, layer.in_features), like)
    elif isinstance(layer, _ConvNd):
        places = layer.weight.ndim - 2
        for size in dict.fromkeys((*SIZES[:2], *side, *SIZES)):
            sizes = (min(size, 16), size, size) if places == 3 else (size,) * places
            yield _numbers((1, layer.in_channels, *sizes), like)


def _numbers(shape: tuple[int, ...], like: Tensor) -> Tensor:
    count = torch.Size(shape).numel()
    return torch.linspace(-1, 1, count, dtype=like.dtype, device=like.device).reshape(shape)


class FittingLinears(TorchFunctionMode):
    """While this mode lasts, a Linear layer takes flat vectors of any length: those of maps of another size.

    In a trial run only what a layer is applied to counts, places or one vector, and not the values.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        if func is functional.linear and len(args) > 1 and args[0].ndim == 2:
            missing = args[1].shape[1] - args[0].shape[1]
            args = (functional.pad(args[0], (0, missing)), *args[1:]) if missing else args
        return func(*args, **(kwargs or {}))


def _own_size(model: nn.Module) -> tuple[int, ...]:
    """The side of images that a model of timm or Hugging Face names."""
    config: Any = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    shape = config.get("input_size") if isinstance(config, Mapping) else None
    named = getattr(getattr(model, "config", None), "image_size", None)
    sizes = [shape[-1] if isinstance(shape, (tuple, list)) and shape else None]
    sizes += [named[-1] if isinstance(named, (tuple, list)) else named, getattr(model, "image_size", None)]
    return tuple(size for size in sizes if type(size) is int)
