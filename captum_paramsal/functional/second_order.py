"""Mean absolute weight gradients that can be differentiated themselves: what pixels change them.

Each is the function of the same name with a backward pass of its own, which forms one example's weight gradient again
instead of keeping those of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.grad import conv1d_input, conv2d_input, conv3d_input

from captum_paramsal.functional.convolution import ConvolutionGeometry, convolution_weight_gradient
from captum_paramsal.functional.products import CACHED_NUMBERS, mean_abs_product
from captum_paramsal.functional.profile import mean_abs

FEW_POSITIONS = 64
"""Up to this many positions, a convolution's input is cut into columns."""

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_INPUT_GRADIENTS: dict[int, Callable[..., Tensor]] = {1: conv1d_input, 2: conv2d_input, 3: conv3d_input}


def differentiable_product_mean_abs(outputs: Tensor, columns: Tensor) -> Tensor:
    """:func:`captum_paramsal.functional.mean_abs_product` that can be differentiated.

    Args:
        outputs: ``(B, O, P)``.
        columns: ``(B, M, P)``.

    Returns:
        ``(B, O)``.
    """
    if outputs.shape[2] == 1:
        return mean_abs(outputs) * mean_abs(columns.transpose(1, 2))
    return _ProductMeanAbs.apply(outputs, columns)  # type: ignore[no-any-return]


def differentiable_convolution_mean_abs(
    inputs: Tensor, output_gradients: Tensor, geometry: ConvolutionGeometry
) -> Tensor:
    """Mean absolute weight gradient of every filter and example of a convolution, that can be differentiated.

    Args:
        inputs: ``(N, C, *size)``.
        output_gradients: Gradient of the loss with respect to the output, ``(N, O, *output size)``.
        geometry: How the convolution moves.

    Returns:
        ``(N, O)``.
    """
    positions = prod(output_gradients.shape[2:])
    if geometry.groups == 1 and prod(geometry.kernel) == 1 and not any(geometry.padding):
        steps = (slice(None), slice(None), *(slice(None, None, stride) for stride in geometry.stride))
        return differentiable_product_mean_abs(output_gradients.flatten(2), inputs[steps].flatten(2))
    if geometry.groups == 1 and len(geometry.kernel) == 2 and positions <= FEW_POSITIONS:
        columns = functional.unfold(inputs, geometry.kernel, geometry.dilation, geometry.padding, geometry.stride)
        return differentiable_product_mean_abs(output_gradients.flatten(2), columns)
    return _ConvolutionMeanAbs.apply(inputs, output_gradients, geometry)  # type: ignore[no-any-return]


class _ProductMeanAbs(Function):
    @staticmethod
    def forward(ctx: Any, outputs: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(outputs, columns)
        return mean_abs_product(outputs, columns)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        outputs, columns = ctx.saved_tensors
        scales = gradient / columns.shape[1]
        pairs = [_through_signs(*product) for product in zip(outputs, columns, scales, strict=True)]
        to_outputs, to_columns = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        return to_outputs, to_columns


def _through_signs(outputs: Tensor, columns: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of one example's ``Σ_o scales[o] Σ_m |outputs @ columns.T|[o, m]`` with respect to both factors.

    Args:
        outputs: ``(O, P)``.
        columns: ``(M, P)``.
        scales: ``(O,)``.
    """
    rows, width = len(outputs), len(columns)
    step = max(1, min(rows, CACHED_NUMBERS // max(width, 1)))
    piece = outputs.new_empty(step, width)
    # With the short side, the positions, first: the matrix library is several times faster that way round.
    to_outputs, to_columns = (
        torch.empty_like(outputs.T),
        torch.zeros_like(columns.T, memory_format=torch.contiguous_format),
    )
    for start in range(0, rows, step):
        part = slice(start, start + step)
        signs = torch.mm(outputs[part], columns.T, out=piece[: len(outputs[part])])
        signs.sign_().mul_(scales[part, None])
        to_outputs[:, part] = columns.T @ signs.T
        to_columns.addmm_(outputs[part].T, signs)
    return to_outputs.T, to_columns.T


class _ConvolutionMeanAbs(Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, output_gradients: Tensor, geometry: ConvolutionGeometry) -> Tensor:
        ctx.save_for_backward(inputs, output_gradients)
        ctx.geometry = geometry
        return torch.cat(
            [
                mean_abs(_weight_gradient(inputs, output_gradients, geometry, n).flatten(1))[None]
                for n in range(len(inputs))
            ]
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        inputs, output_gradients = ctx.saved_tensors
        geometry = ctx.geometry
        dimensions = len(geometry.kernel)
        moves = (geometry.stride, geometry.padding, geometry.dilation, geometry.groups)
        scales = gradient / prod(geometry.weight_shape[1:])
        to_inputs, to_outputs = torch.empty_like(inputs), torch.empty_like(output_gradients)
        for n in range(len(inputs)):
            signs = _weight_gradient(inputs, output_gradients, geometry, n).sign_()
            signs.mul_(scales[n].reshape(-1, *[1] * (signs.ndim - 1)))
            example = slice(n, n + 1)
            to_outputs[example] = _CONVOLUTIONS[dimensions](inputs[example], signs, None, *moves)
            to_inputs[example] = _INPUT_GRADIENTS[dimensions](
                inputs[example].shape, signs, output_gradients[example], *moves
            )
        return to_inputs, to_outputs, None


def _weight_gradient(inputs: Tensor, output_gradients: Tensor, geometry: ConvolutionGeometry, n: int) -> Tensor:
    example = slice(n, n + 1)
    return convolution_weight_gradient(inputs[example], output_gradients[example], geometry)
