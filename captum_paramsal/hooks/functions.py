"""Calls of functions that multiply by a weight, whoever makes them: a layer, its parent, a forward pass of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from captum_paramsal.functional.convolution import ConvolutionGeometry, padding_per_dimension, per_dimension
from captum_paramsal.hooks.calls import LayerCall
from captum_paramsal.hooks.gradients import ConvolutionGradients, FoldedGradients, ProductGradients, SampleGradients

_LINEAR = ("input", "weight", "bias")
_CONVOLUTION = (*_LINEAR, "stride", "padding", "dilation", "groups")
_ARGUMENTS: dict[Callable[..., Any], tuple[str, ...]] = {
    functional.linear: _LINEAR,
    functional.conv1d: _CONVOLUTION,
    functional.conv2d: _CONVOLUTION,
    functional.conv3d: _CONVOLUTION,
}

OPENED = frozenset({functional.multi_head_attention_forward})
"""Functions that multiply by several weights, each in a call of one of the functions above."""


@dataclass(frozen=True)
class FunctionCall:
    """One call of such a function.

    Attributes:
        arguments: By name.
    """

    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FunctionCall | None:
        """The call, or None of another function."""
        names = _ARGUMENTS.get(func)
        if names is None:
            return None
        return cls(dict(zip(names, args, strict=False)) | dict(kwargs))

    @property
    def weight(self) -> Tensor:
        """What it multiplies by."""
        weight: Tensor = self.arguments["weight"]
        return weight

    @property
    def bias(self) -> Tensor | None:
        """What it adds."""
        return self.arguments.get("bias")

    @property
    def input(self) -> Tensor:
        """What it is applied to."""
        given: Tensor = self.arguments["input"]
        return given

    def kept(self, *, attached: bool) -> LayerCall:
        """The call for the backward pass, by name."""
        return LayerCall.of((), {"input": self.input} | dict(self.arguments), attached=attached)


INSIDE = -1
"""For a dimension of the examples: inside of dimension 0, ``(L * N, ...)``, as where tokens come first."""


def examples_first(tensor: Tensor, dimension: int, count: int) -> Tensor:
    """A tensor with the examples alone in dimension 0, where they were in another or folded with windows or tokens.

    Args:
        tensor: ``(..., N, ...)``, ``(N * windows, ...)`` or ``(tokens * N, ...)``.
        dimension: Where the examples are; 0 also for those folded with windows, :data:`INSIDE` with tokens.
        count: Examples, N.
    """
    if dimension == INSIDE:
        inner: Tensor = tensor.unflatten(0, (-1, count))
        return inner.transpose(0, 1)
    first = tensor.transpose(0, dimension) if dimension else tensor
    return first if len(first) == count else first.unflatten(0, (count, -1))


def function_gradients(call: LayerCall, output_gradients: Tensor, dimension: int, count: int) -> SampleGradients:
    """Weight gradients of a function's call.

    Args:
        call: As :meth:`FunctionCall.kept` gives it.
        output_gradients: Gradient with respect to what the function returned.
        dimension: Where the examples are, see :func:`examples_first`.
        count: Examples, N.
    """
    given = call.kwargs
    inputs = given["input"].to(output_gradients.dtype)
    if given["weight"].ndim == 2:
        return linear_positions(
            examples_first(output_gradients, dimension, count), examples_first(inputs, dimension, count)
        )
    geometry, inputs = convolution_geometry(given, inputs)
    gradients = ConvolutionGradients(inputs, output_gradients, geometry)
    return gradients if len(inputs) == count else FoldedGradients(gradients, count)


def linear_positions(output_gradients: Tensor, inputs: Tensor) -> ProductGradients:
    """Gradients of a linear map over all dimensions between the first and the last."""
    outputs = output_gradients.flatten(1, -2) if output_gradients.ndim > 2 else output_gradients.unsqueeze(1)
    columns = inputs.to(outputs.dtype).reshape(*outputs.shape[:2], -1)
    return ProductGradients(outputs.transpose(1, 2), columns.transpose(1, 2))


def convolution_geometry(given: Mapping[str, Any], inputs: Tensor) -> tuple[ConvolutionGeometry, Tensor]:
    """How a convolution moved, and its inputs, padded where the padding has a name.

    Args:
        given: Its arguments by the function's names, ``weight`` among them.
        inputs: What it was applied to.
    """
    shape, padding = tuple(given["weight"].shape), given.get("padding", 0)
    stride, dilation = (per_dimension(given.get(name, 1), len(shape) - 2) for name in ("stride", "dilation"))
    if padding == "same":
        around = padding_per_dimension(padding, shape[2:], dilation)
        inputs = functional.pad(inputs, [side for pair in reversed(around) for side in pair])
    zeros = per_dimension(0 if isinstance(padding, str) else padding, len(shape) - 2)
    return ConvolutionGeometry(shape, stride, zeros, dilation, given.get("groups", 1)), inputs


def bias_gradients(output_gradients: Tensor, *, channels: int, dimension: int = 0, count: int | None = None) -> Tensor:
    """Gradients of what is added to each channel: sums over all places, ``(N, O)``.

    Args:
        output_gradients: Gradient with respect to the output.
        channels: Dimension of the channels, 1 or -1.
        dimension: Dimension of the examples.
        count: Examples, where they may be folded with windows.
    """
    first = examples_first(output_gradients, dimension, len(output_gradients) if count is None else count)
    if channels == -1:
        return first.flatten(1, -2).sum(dim=1) if first.ndim > 2 else first
    channel = first.ndim - output_gradients.ndim + 1
    others = [place for place in range(1, first.ndim) if place != channel]
    return torch.sum(first, dim=others) if others else first
