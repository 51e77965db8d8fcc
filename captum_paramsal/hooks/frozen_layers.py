"""Convolutions and batch norms with fixed weights, differentiated twice without what only their weights would need.

The library's second derivative of a convolution forms the weight's share also where the weight is frozen, group by
group: half of the time of a double backward pass through MobileNetV2. Here both passes are the two operations that they
have to be, a convolution and the one that leads back.

That of a batch norm is a dozen passes over the maps, although with fixed statistics it is a factor for each channel
(https://github.com/pytorch/pytorch/issues/3076). Here it is that factor.
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


class FrozenLayers(TorchFunctionMode):
    """While this mode lasts, convolutions and batch norms whose weights are fixed have cheap second derivatives.

    Entered before whatever watches these functions, which then sees the model's calls and not those inside of these.

    Attributes:
        resting: Whether it lets everything pass, as behind the forward pass.
    """

    resting = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        if self.resting:
            return func(*args, **(kwargs or {}))
        if func in _FUNCTIONS and not kwargs:
            inputs, weight, bias, moves = _arguments(*args)
            if _is_frozen(inputs, weight, bias) and not isinstance(moves[1], str):
                return _Convolution.apply(inputs, weight, bias, moves)
        if func is functional.batch_norm:
            given, training, epsilon = _norm_arguments(*args, **(kwargs or {}))
            if not training and _is_fixed_norm(*given):
                return _BatchNorm.apply(*given, epsilon)
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


def _norm_arguments(  # noqa: PLR0917 -- the signature of the function
    input: Tensor,  # noqa: A002
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: FBT001, FBT002
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None], bool, float]:
    del momentum
    return (input, running_mean, running_var, weight, bias), training, eps


def _is_fixed_norm(inputs: Tensor, *fixed: Tensor | None) -> bool:
    """Whether a norm is a factor and a summand for each channel, in the type of what is normed."""
    mean, variance, *_ = fixed
    if mean is None or variance is None or torch.is_autocast_enabled(inputs.device.type):
        return False
    there = [tensor for tensor in fixed if tensor is not None]
    alike = all(tensor.dtype == inputs.dtype and not tensor.requires_grad for tensor in there)
    return alike and inputs.requires_grad


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


class _BatchNorm(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(  # noqa: PLR0917 -- the order of the library's function
        inputs: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float
    ) -> Tensor:
        return functional.batch_norm(inputs, mean, variance, weight, bias, eps=epsilon)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        _, _, variance, weight, _, ctx.epsilon = inputs
        ctx.save_for_backward(variance, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        variance, weight = ctx.saved_tensors
        scale = torch.rsqrt(variance + ctx.epsilon)
        scale = scale if weight is None else scale * weight
        return gradient * scale.reshape(-1, *[1] * (gradient.ndim - 2)), None, None, None, None, None
