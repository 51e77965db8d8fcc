"""Mean absolute weight gradients that can be differentiated themselves: what pixels change them.

Each is the function of the same name with a backward pass of its own. What that needs of the weight gradients are their
signs. They are kept, a byte each, where forming them is work; at few positions they are formed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.grad import conv1d_input, conv2d_input, conv3d_input

from captum_paramsal.functional.convolution import ConvolutionGeometry, convolution_weight_gradient
from captum_paramsal.functional.matrix_products import large_product, pairwise_products
from captum_paramsal.functional.products import BLOCK_NUMBERS, mean_abs_product
from captum_paramsal.functional.profile import accumulation_type, mean_abs

FEW_POSITIONS = 64
"""Up to this many positions a convolution's input is cut into columns; at fewer, signs are formed again, not kept."""

PADDED_POSITIONS = 4
"""Up to this many positions, most taps of a padded kernel see the map at one or two, and the padding at the others."""

FORMED_NUMBERS = 1 << 20
"""Size of the weight gradients that are formed together on a CPU: 4 MiB in float32, one example at least."""

_EXAMPLE_NUMBERS = 1 << 18
"""Size of the rows of one example among them, where they are formed again."""

_ROWS = 32
"""Rows of a product that are formed together at least."""

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
    positions = outputs.shape[2]
    if positions == 1:
        return mean_abs(outputs) * mean_abs(columns.transpose(1, 2))
    if positions < FEW_POSITIONS:
        return _FewPositions.apply(outputs, columns, ())  # type: ignore[no-any-return]
    return _ManyPositions.apply(outputs, columns)  # type: ignore[no-any-return]


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
        if 1 < positions <= PADDED_POSITIONS and any(geometry.padding):
            parts = _parts(inputs.detach(), geometry)
            return _FewPositions.apply(output_gradients.flatten(2), columns, parts)  # type: ignore[no-any-return]
        return differentiable_product_mean_abs(output_gradients.flatten(2), columns)
    return _ConvolutionMeanAbs.apply(inputs, output_gradients, geometry)  # type: ignore[no-any-return]


class _ManyPositions(Function):
    """Products whose signs are kept."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, columns: Tensor) -> Tensor:
        count, rows, width = *outputs.shape[:2], columns.shape[1]
        signs = torch.empty(count, rows, width, dtype=torch.int8, device=outputs.device)
        means = outputs.new_empty(count, rows, dtype=accumulation_type(outputs.dtype))
        for part in _blocks(outputs, _together(outputs, columns)):
            formed = pairwise_products(outputs[part], columns[part].transpose(1, 2))
            means[part], signs[part] = mean_abs(formed), formed.sign_()
        ctx.save_for_backward(outputs, columns, signs)
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        outputs, columns, signs = ctx.saved_tensors
        scales = (gradient / columns.shape[1]).to(outputs.dtype)
        to_outputs, to_columns = _like(outputs), _like(columns)
        for part in _blocks(outputs, _together(outputs, columns)):
            scaled = signs[part].to(outputs.dtype).mul_(scales[part, :, None])
            to_outputs[part] = pairwise_products(scaled, columns[part])
            to_columns[part] = pairwise_products(scaled.transpose(1, 2), outputs[part])
        return to_outputs, to_columns


class _FewPositions(Function):
    """Products that cost less to form than to keep the signs of, in parts that have zeros at the other positions."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, columns: Tensor, parts: Sequence[_Part]) -> Tensor:
        ctx.save_for_backward(outputs, columns)
        ctx.parts = parts
        if not parts:
            return mean_abs_product(outputs, columns)
        sums = [mean_abs_product(*part.of(outputs, columns)) * len(part.rows) for part in parts]
        return torch.stack(sums).sum(dim=0).div_(columns.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        outputs, columns = ctx.saved_tensors
        scales = (gradient / columns.shape[1]).to(outputs.dtype)[:, None]
        if not ctx.parts:
            return (*_through_signs(outputs, columns, scales), None)
        to_outputs, to_columns = torch.zeros_like(outputs), torch.zeros_like(columns)
        for part in ctx.parts:
            given = part.of(outputs, columns)
            through = _through_one_position if len(part.positions) == 1 else _through_signs
            of_outputs, of_columns = through(given[0], given[1], scales)
            to_outputs[:, :, part.positions] += of_outputs
            to_columns[:, part.rows[:, None], part.positions] = of_columns
        return to_outputs, to_columns, None


def _through_signs(outputs: Tensor, columns: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of ``Σ_o scales[o] Σ_m |outputs @ columns.T|[o, m]`` with respect to both factors.

    Args:
        outputs: ``(B, O, P)``.
        columns: ``(B, M, P)``.
        scales: ``(B, 1, O)``.
    """
    # With the short side, the positions, first: the matrix library is several times faster that way round.
    outputs, columns = outputs.transpose(1, 2).contiguous(), columns.transpose(1, 2).contiguous()
    scaled = outputs * scales
    to_outputs, to_columns = torch.empty_like(outputs), torch.zeros_like(columns)
    rows, width = outputs.shape[2], columns.shape[2]
    step = min(rows, max(_ROWS, _EXAMPLE_NUMBERS // max(width, 1))) if outputs.device.type == "cpu" else rows
    for part in _blocks(outputs, step * width):
        for start in range(0, rows, step):
            some = (part, slice(None), slice(start, start + step))
            signs = torch.bmm(outputs[some].transpose(1, 2), columns[part]).sign_()
            to_outputs[some] = torch.bmm(columns[part], signs.transpose(1, 2))
            to_columns[part].baddbmm_(scaled[some], signs)
    return to_outputs.mul_(scales).transpose(1, 2), to_columns.transpose(1, 2)


def _through_one_position(outputs: Tensor, columns: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """The same at a single position, where the product's signs are those of its factors."""
    each = scales.transpose(1, 2)
    to_outputs = outputs.sign() * columns.abs().sum(dim=1, keepdim=True) * each
    return to_outputs, columns.sign() * (outputs.abs() * each).sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class _Part:
    """Rows of a convolution's columns that are 0 but at some positions.

    Attributes:
        rows: Which.
        positions: Where they are not.
    """

    rows: Tensor
    positions: Tensor

    def of(self, outputs: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs at these positions, and these rows of the columns."""
        return outputs[:, :, self.positions], columns[:, self.rows[:, None], self.positions]


def _parts(inputs: Tensor, geometry: ConvolutionGeometry) -> list[_Part]:
    """Rows of the columns by what their tap of the kernel sees of the map and not of its padding; none if few gain."""
    ones = torch.ones_like(inputs[:1, :1])
    seen = functional.unfold(ones, geometry.kernel, geometry.dilation, geometry.padding, geometry.stride)[0] > 0
    # A tap that sees one position costs nothing; one that sees two, as much as one that sees all.
    if 3 * int((seen.sum(dim=1) == 1).sum()) < len(seen):
        return []
    kinds, kind = seen.unique(dim=0, return_inverse=True)
    channel = torch.arange(inputs.shape[1], device=inputs.device)[:, None] * len(seen)
    return [
        _Part((channel + (kind == number).nonzero()[:, 0]).flatten(), positions.nonzero()[:, 0])
        for number, positions in enumerate(kinds)
        if positions.any()
    ]


def _together(outputs: Tensor, columns: Tensor) -> int:
    """Numbers of an example's product, or as many as are formed at once where products are best formed one by one."""
    alone = large_product(outputs, columns.transpose(1, 2)) is not None
    return FORMED_NUMBERS if alone else outputs.shape[1] * columns.shape[1]


def _blocks(outputs: Tensor, numbers: int) -> Iterator[slice]:
    """Examples that are taken together, where each takes so many numbers."""
    step = max(1, (FORMED_NUMBERS if outputs.device.type == "cpu" else BLOCK_NUMBERS) // max(numbers, 1))
    return (slice(start, start + step) for start in range(0, len(outputs), step))


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


class _ConvolutionMeanAbs(Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, output_gradients: Tensor, geometry: ConvolutionGeometry) -> Tensor:
        shape = (len(inputs), *geometry.weight_shape)
        signs = torch.empty(shape, dtype=torch.int8, device=inputs.device)
        means = inputs.new_empty(shape[:2], dtype=accumulation_type(inputs.dtype))
        for part in _blocks(inputs, prod(geometry.weight_shape)):
            joined = _side_by_side(geometry, len(inputs[part]))
            gradients = convolution_weight_gradient(_as_one(inputs[part]), _as_one(output_gradients[part]), joined)
            gradients = gradients.view(-1, *geometry.weight_shape)
            means[part], signs[part] = mean_abs(gradients.flatten(2)), gradients.sign_()
        ctx.save_for_backward(inputs, output_gradients, signs)
        ctx.geometry = geometry
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        inputs, output_gradients, signs = ctx.saved_tensors
        geometry, dimensions = ctx.geometry, len(ctx.geometry.kernel)
        scales = (gradient / prod(geometry.weight_shape[1:])).to(inputs.dtype)
        to_inputs, to_outputs = _like(inputs), _like(output_gradients)
        for part in _blocks(inputs, signs[0].numel()):
            joined = _side_by_side(geometry, len(inputs[part]))
            moves = (joined.stride, joined.padding, joined.dilation, joined.groups)
            some, scale = signs[part], scales[part].reshape(*signs[part].shape[:2], *[1] * (signs.ndim - 2))
            weights = some.to(inputs.dtype).mul_(scale).flatten(0, 1)
            given, arriving = _as_one(inputs[part]), _as_one(output_gradients[part])
            to_outputs[part] = _CONVOLUTIONS[dimensions](given, weights, None, *moves).view_as(to_outputs[part])
            back = _INPUT_GRADIENTS[dimensions](given.shape, weights, arriving, *moves)
            to_inputs[part] = back.view_as(to_inputs[part])
        return to_inputs, to_outputs, None


def _as_one(maps: Tensor) -> Tensor:
    """The maps of some examples as the channels of one."""
    return maps.reshape(1, -1, *maps.shape[2:])


def _side_by_side(geometry: ConvolutionGeometry, count: int) -> ConvolutionGeometry:
    """A convolution of so many examples as the channels of one, each a group, or several, of its own."""
    filters, *each = geometry.weight_shape
    return replace(geometry, weight_shape=(count * filters, *each), groups=count * geometry.groups)
