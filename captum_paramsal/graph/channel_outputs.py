"""What single channels of a layer return when their parameters have other values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def has_channel_outputs(layer: nn.Module) -> bool:
    """Whether the channels of a layer can be run on their own: convolutions, Linear, batch norms in evaluation mode."""
    if type(layer) in _NORMS:
        return layer.running_mean is not None and layer.weight is not None
    return type(layer) in (*_CONVOLUTIONS, nn.Linear)


def channel_dimension(layer: nn.Module, output: Tensor) -> int:
    """Where the channels are in what a layer returns."""
    return output.ndim - 1 if isinstance(layer, nn.Linear) else 1


def constant_outputs(values: Mapping[str, Tensor]) -> Tensor | None:
    """What channels return at every place, ``(m,)``, whatever they are given; None if it depends on that.

    Args:
        values: New parameters of m of the layer's channels, ``(m, ...)`` by name, all that it has.
    """
    weight = values["weight"]
    if bool(weight.any()):
        return None
    bias = values.get("bias")
    return weight.new_zeros(len(weight)) if bias is None else bias


def channel_outputs(layer: Any, inputs: Tensor, channels: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """What some channels of a layer return.

    Args:
        layer: The layer; see :func:`has_channel_outputs`.
        inputs: What it is given.
        channels: Numbers of the channels, ``(m,)``.
        values: Their parameters, ``(m, ...)`` by name, all that the layer has.

    Returns:
        The layer's output with these m channels alone.
    """
    weight, bias = values["weight"], values.get("bias")
    if isinstance(layer, nn.Linear):
        return functional.linear(inputs, weight, bias)
    if isinstance(layer, _NORMS):
        statistics: Any = layer
        mean, variance = statistics.running_mean[channels], statistics.running_var[channels]
        return functional.batch_norm(inputs[:, channels], mean, variance, weight, bias, training=False, eps=layer.eps)
    if layer.groups == 1:
        outputs: Tensor = layer._conv_forward(inputs, weight, bias)  # noqa: SLF001 -- knows every kind of padding
        return outputs
    whole = layer.weight.detach().clone()
    whole[channels] = weight
    outputs = layer._conv_forward(inputs, whole, None)[:, channels]  # noqa: SLF001
    return outputs if bias is None else outputs + bias.view(-1, *[1] * (outputs.ndim - 2))
