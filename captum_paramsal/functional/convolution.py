"""Weight gradients of single examples of a convolution, of any dimension, and of its transpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.grad import conv1d_weight, conv2d_weight, conv3d_weight

from captum_paramsal.functional.products import mean_abs_product

_WEIGHT_GRADIENTS: dict[int, Callable[..., Tensor]] = {1: conv1d_weight, 2: conv2d_weight, 3: conv3d_weight}


@dataclass(frozen=True)
class ConvolutionGeometry:
    """How a convolution moves over its input; the weight is ``(O, C / groups, *kernel)``.

    Attributes:
        weight_shape: Shape of the weight.
        stride: One number per spatial dimension, like ``padding`` and ``dilation``.
        padding: Zeros on both sides.
        dilation: Distance between the taps of the kernel.
        groups: Groups of channels that do not mix.
    """

    weight_shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def kernel(self) -> tuple[int, ...]:
        """Taps in each spatial dimension."""
        return self.weight_shape[2:]


def per_dimension(value: Any, dimensions: int) -> tuple[int, ...]:
    """One number for all dimensions, or one for each."""
    given = (value,) if isinstance(value, int) else tuple(value)
    return given * dimensions if len(given) == 1 else given


def padding_per_dimension(
    padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """What a convolution adds before and after its input in each dimension."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((both // 2, both - both // 2) for both in total)
    return tuple((side, side) for side in per_dimension(padding, len(kernel)))


def convolution_weight_gradient(inputs: Tensor, output_gradients: Tensor, geometry: ConvolutionGeometry) -> Tensor:
    """Gradient of a convolution's weight, summed over the examples given.

    Args:
        inputs: ``(N, C, *size)``.
        output_gradients: Gradient of the loss with respect to the output, ``(N, O, *output size)``.
        geometry: How the convolution moves.

    Returns:
        ``(O, C / groups, *kernel)``.
    """
    gradient = _WEIGHT_GRADIENTS[len(geometry.kernel)]
    return gradient(
        inputs,
        geometry.weight_shape,
        output_gradients,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        geometry.groups,
    )


def convolution_columns(inputs: Tensor, sizes: tuple[int, ...], geometry: ConvolutionGeometry) -> Tensor:
    """What the kernel sees at each place of the output.

    Args:
        inputs: ``(N, C, *size)``.
        sizes: Size of the output.
        geometry: How the convolution moves.

    Returns:
        ``(N, groups, C / groups · taps, places)``: the weight gradient of example n and group g is the product of
        its output gradients ``(O / groups, places)`` with the transpose of this.
    """
    if any(geometry.padding):
        inputs = torch.nn.functional.pad(inputs, [p for p in reversed(geometry.padding) for _ in range(2)])
    windows = inputs.as_strided(
        (*inputs.shape[:2], *geometry.kernel, *sizes),
        (
            *inputs.stride()[:2],
            *(step * d for step, d in zip(inputs.stride()[2:], geometry.dilation, strict=True)),
            *(step * s for step, s in zip(inputs.stride()[2:], geometry.stride, strict=True)),
        ),
    )
    columns = inputs.shape[1] // geometry.groups * prod(geometry.kernel)
    return windows.reshape(len(inputs), geometry.groups, columns, prod(sizes))


def convolution_mean_abs(inputs: Tensor, output_gradients: Tensor, geometry: ConvolutionGeometry) -> Tensor:
    """Mean absolute weight gradient of every filter and example, as products of matrices.

    Args:
        inputs: ``(N, C, *size)``.
        output_gradients: Gradient of the loss with respect to the output, ``(N, O, *output size)``.
        geometry: How the convolution moves.

    Returns:
        ``(N, O)``.
    """
    sizes = output_gradients.shape[2:]
    outputs = output_gradients.reshape(len(inputs) * geometry.groups, -1, prod(sizes))
    columns = convolution_columns(inputs, sizes, geometry).flatten(0, 1)
    return mean_abs_product(outputs, columns).reshape(len(inputs), -1)


def transposed_filters(weights: Tensor, groups: int) -> Tensor:
    """The output slices of a transposed convolution's weight.

    Args:
        weights: Weights or their gradients, ``(N, C, O / groups, *kernel)``.
        groups: Groups of channels that do not mix.

    Returns:
        ``(N, O, C / groups · taps)``.
    """
    examples, channels, outputs = weights.shape[:3]
    by_group = weights.reshape(examples, groups, channels // groups, outputs, -1).transpose(2, 3)
    return by_group.reshape(examples, groups * outputs, -1)
