"""The rules that come with the package: convolutions, their transposes, Linear, attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from captum_paramsal.functional.convolution import ConvolutionGeometry, per_dimension, transposed_filters
from captum_paramsal.hooks.calls import LayerCall
from captum_paramsal.hooks.functions import convolution_geometry, linear_positions
from captum_paramsal.hooks.gradients import (
    ConvolutionGradients,
    DenseGradients,
    HeadGradients,
    RowGroups,
    SampleGradients,
    TransposedConvolutionGradients,
)
from captum_paramsal.hooks.rules import FilterRule, register_rule

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Layer types that are scored by default."""

_ATTENTION_ARGUMENTS = (
    "query",
    "key",
    "value",
    "key_padding_mask",
    "need_weights",
    "attn_mask",
    "average_attn_weights",
    "is_causal",
)


def convolution_gradients(layer: _ConvNd, call: LayerCall, output_gradients: Tensor) -> SampleGradients:
    """Weight gradients of a convolution with any stride, dilation, groups and padding."""
    # Under autocast the layer worked on inputs of another type than it was given.
    inputs = call.inputs.to(output_gradients.dtype)
    moves = {name: getattr(layer, name) for name in ("weight", "stride", "padding", "dilation", "groups")}
    if layer.padding_mode != "zeros":
        # The layer pads by what it noted when it was made, whatever its padding was set to since.
        inputs = functional.pad(inputs, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)  # noqa: SLF001
        moves["padding"] = 0
    geometry, inputs = convolution_geometry(moves, inputs)
    return ConvolutionGradients(inputs, output_gradients, geometry)


def transposed_convolution_gradients(
    layer: _ConvTransposeNd, call: LayerCall, output_gradients: Tensor
) -> SampleGradients:
    """Weight gradients of a transposed convolution: those of the convolution that leads back."""
    inputs = call.inputs.to(output_gradients.dtype)
    kernel = tuple(layer.weight.shape[2:])
    stride, dilation, padding = (
        per_dimension(setting, len(kernel)) for setting in (layer.stride, layer.dilation, layer.padding)
    )
    geometry = ConvolutionGeometry(tuple(layer.weight.shape), stride, (0,) * len(kernel), dilation, layer.groups)
    # Cut to the places that a product of weight and input reaches, zeros where padding cut those off.
    margins: list[int] = []
    for dimension, size in enumerate(inputs.shape[2:]):
        reach = (size - 1) * stride[dimension] + dilation[dimension] * (kernel[dimension] - 1) + 1
        before = padding[dimension]
        margins = [before, reach - before - output_gradients.shape[2 + dimension], *margins]
    reached = functional.pad(output_gradients, margins)
    return TransposedConvolutionGradients(ConvolutionGradients(reached, inputs, geometry))


def linear_gradients(layer: nn.Linear, call: LayerCall, output_gradients: Tensor) -> SampleGradients:  # noqa: ARG001
    """Weight gradients of a Linear over all dimensions between the first and the last."""
    return linear_positions(output_gradients, call.inputs)


def attention_gradients(layer: nn.MultiheadAttention, call: LayerCall, output_gradients: Tensor) -> SampleGradients:
    """Weight gradients of the query, key and value projections, head by head.

    For calls in which a weight is no projection by itself, as where queries and keys are of different tokens. The
    projections happen inside the layer where no hook sees them: they are made here, and what mixes them runs again to
    get the gradients of their results.
    """
    differentiable = torch.is_grad_enabled()
    inputs = _tokens(layer, call)
    with torch.enable_grad():
        projected = [tensor.requires_grad_() for tensor in _projected(layer, inputs)]
        mixed = _mixed(layer, projected, call)
        upstream = _examples_first(layer, output_gradients.to(mixed.dtype))
        upstream = functional.linear(upstream, layer.out_proj.weight.T.to(mixed.dtype))
        gradients = torch.autograd.grad(mixed, projected, upstream, create_graph=differentiable)
    maps = tuple(linear_positions(gradient, x) for gradient, x in zip(gradients, inputs, strict=True))
    return HeadGradients(maps, layer.num_heads)


def _projection_weights(layer: nn.MultiheadAttention) -> tuple[Tensor, ...]:
    """Weights of the query, key and value projections, each ``(E, width of its input)``."""
    if layer.in_proj_weight is not None:
        return layer.in_proj_weight.chunk(3)
    return layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight


def _tokens(layer: nn.MultiheadAttention, call: LayerCall) -> list[Tensor]:
    """Queries, keys and values before their projections, each ``(N, L, width)``."""
    given = _arguments(call)
    return [_examples_first(layer, given[name]) for name in _ATTENTION_ARGUMENTS[:3]]


def _examples_first(layer: nn.MultiheadAttention, tokens: Tensor) -> Tensor:
    """What the layer is given or gives back, ``(N, L, width)``."""
    # In one piece: of transposed tokens a linear map is a product for each token, several times slower.
    return (tokens if layer.batch_first else tokens.transpose(0, 1)).contiguous()


def _projected(layer: nn.MultiheadAttention, inputs: list[Tensor]) -> list[Tensor]:
    """Queries, keys and values, each ``(N, L, E)``."""
    biases = (None,) * 3 if layer.in_proj_bias is None else layer.in_proj_bias.detach().chunk(3)
    weights = _projection_weights(layer)
    return [functional.linear(x, w.detach(), b) for x, w, b in zip(inputs, weights, biases, strict=True)]


def _mixed(layer: nn.MultiheadAttention, projected: list[Tensor], call: LayerCall) -> Tensor:
    """What the heads return, before the output projection, ``(N, L, E)``.

    By PyTorch's own function, which knows every mask, with identities for projections.
    """
    given = _arguments(call)
    identity = torch.eye(layer.embed_dim, dtype=projected[0].dtype, device=projected[0].device)
    query, key, value = (x.transpose(0, 1) for x in projected)
    output, _ = functional.multi_head_attention_forward(
        query,
        key,
        value,
        embed_dim_to_check=layer.embed_dim,
        num_heads=layer.num_heads,
        in_proj_weight=None,
        in_proj_bias=None,
        bias_k=layer.bias_k,
        bias_v=layer.bias_v,
        add_zero_attn=layer.add_zero_attn,
        dropout_p=0.0,
        out_proj_weight=identity,
        out_proj_bias=None,
        training=False,
        need_weights=False,
        use_separate_proj_weight=True,
        q_proj_weight=identity,
        k_proj_weight=identity,
        v_proj_weight=identity,
        key_padding_mask=given.get("key_padding_mask"),
        attn_mask=given.get("attn_mask"),
        is_causal=given.get("is_causal", False),
    )
    return output.transpose(0, 1)


def _arguments(call: LayerCall) -> dict[str, Any]:
    """The arguments of an attention layer's call by name, in the order of its forward pass."""
    return dict(zip(_ATTENTION_ARGUMENTS, call.args, strict=False)) | dict(call.kwargs)


def _heads_of_rows(layer: nn.MultiheadAttention, rows: SampleGradients) -> SampleGradients:
    """Heads, each so many rows of the one weight of queries, keys and values."""
    size = layer.embed_dim // layer.num_heads
    return RowGroups(rows, tuple(slice(start, start + size) for start in range(0, 3 * layer.embed_dim, size)))


def _head_slices(layer: nn.MultiheadAttention, gradients: tuple[Tensor, ...]) -> SampleGradients:
    maps = gradients if len(gradients) == 3 else gradients[0].chunk(3, dim=1)
    return HeadGradients(tuple(DenseGradients(one) for one in maps), layer.num_heads)


def _head_names(layer: nn.MultiheadAttention) -> tuple[str, ...]:
    return tuple(f"{part}[head {head}]" for part in "qkv" for head in range(layer.num_heads))


register_rule(FilterRule(convolution_gradients), nn.Conv1d, nn.Conv2d, nn.Conv3d)
register_rule(
    FilterRule(
        transposed_convolution_gradients,
        count=lambda layer: layer.out_channels,
        slices=lambda layer, gradients: DenseGradients(transposed_filters(gradients[0], layer.groups)),
        of_rows=None,
    ),
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
register_rule(FilterRule(linear_gradients), nn.Linear)
register_rule(
    FilterRule(
        attention_gradients,
        count=lambda layer: 3 * layer.num_heads,
        parts=_head_names,
        weights=lambda layer: (
            (layer.in_proj_weight,) if layer.in_proj_weight is not None else _projection_weights(layer)
        ),
        slices=_head_slices,
        of_rows=_heads_of_rows,
        batch_dimension=lambda layer: 0 if layer.batch_first else 1,
    ),
    nn.MultiheadAttention,
)
