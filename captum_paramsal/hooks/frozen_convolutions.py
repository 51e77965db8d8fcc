"""Convolutions with fixed weights, differentiated twice without what only their weights would need.

The library's second derivative of a convolution forms the weight's share also where the weight is frozen, group by
group: half of the time of a double backward pass through MobileNetV2. Here both passes are the two operations that they
have to be, a convolution and the one that leads back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.nn.grad import conv1d_input, conv2d_input, conv3d_input
from torch.overrides import TorchFunctionMode

Moves: TypeAlias = tuple[Any, Any, Any, int]
"""Stride, padding, dilation and groups."""

_FORWARD: dict[int, Callable[..., Tensor]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_BACK: dict[int, Callable[..., Tensor]] = {1: conv1d_input, 2: conv2d_input, 3: conv3d_input}
_FUNCTIONS = frozenset(_FORWARD.values())


class FrozenConvolutions(TorchFunctionMode):
    """While this mode lasts, convolutions whose weight needs no gradient have cheap second derivatives."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        if func in _FUNCTIONS and not kwargs:
            inputs, weight, bias, moves = _arguments(*args)
            if _is_frozen(inputs, weight, bias) and not isinstance(moves[1], str):
                return _Convolution.apply(inputs, weight, bias, moves)
        return func(*args, **(kwargs or {}))


def _arguments(  # noqa: PLR0917 -- the signature of these functions
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor, Tensor | None, Moves]:
    return inputs, weight, bias, (stride, padding, dilation, groups)


def _is_frozen(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    # Under autocast the library casts both, and its own derivatives know of it.
    plain = inputs.ndim == weight.ndim and not torch.is_autocast_enabled(inputs.device.type)
    return plain and inputs.requires_grad and not (weight.requires_grad or (bias is not None and bias.requires_grad))


class _Convolution(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor | None, moves: Moves) -> Tensor:
        return _FORWARD[weight.ndim - 2](inputs, weight, bias, *moves)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004 -- autograd's signature
        given, weight, _, moves = inputs
        ctx.save_for_backward(weight)
        ctx.size, ctx.moves = given.shape, moves

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        return _Back.apply(gradient, weight, ctx.size, ctx.moves), None, None, None


class _Back(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, weight: Tensor, size: torch.Size, moves: Moves) -> Tensor:
        return _BACK[weight.ndim - 2](size, weight, gradient, *moves)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        _, weight, _, moves = inputs
        ctx.save_for_backward(weight)
        ctx.moves = moves

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        return _FORWARD[weight.ndim - 2](gradient, weight, None, *ctx.moves), None, None, None
