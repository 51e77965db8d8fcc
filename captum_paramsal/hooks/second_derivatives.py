"""Functions whose gradient PyTorch cannot differentiate, written so that it can.

A double backward pass differentiates gradients. Those of hard-sigmoid and of the native channel shuffle have no
derivative in the library, although they are linear in what arrives: their second derivative is 0 almost everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """While this context lasts, what the library differentiates once only can be differentiated twice."""
    # Fused attention has no second derivative, the same written out has.
    with sdpa_kernel(SDPBackend.MATH), SecondDerivatives():
        yield


class SecondDerivatives(TorchFunctionMode):
    """Functions that are written out, while this mode lasts."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        written_out = _WRITTEN_OUT.get(func)
        return func(*args, **(kwargs or {})) if written_out is None else written_out(*args, **(kwargs or {}))


class _HardSigmoid(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(inputs: Tensor) -> Tensor:
        return functional.hardsigmoid(inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004 -- autograd's signature
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (inputs,) = ctx.saved_tensors
        return torch.where((inputs > -3) & (inputs < 3), gradient / 6, 0)


def _hard_sigmoid(input: Tensor, inplace: bool = False) -> Tensor:  # noqa: A002, FBT001, FBT002 -- the function's signature
    if not inplace:
        return _differentiable_hard_sigmoid(input)
    input.copy_(_differentiable_hard_sigmoid(input.clone()))
    return input


def _differentiable_hard_sigmoid(inputs: Tensor) -> Tensor:
    result: Tensor = _HardSigmoid.apply(inputs)  # type: ignore[no-untyped-call, unused-ignore]
    return result


def _channel_shuffle(input: Tensor, groups: int) -> Tensor:  # noqa: A002
    shuffled: Tensor = input.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
    return shuffled


_WRITTEN_OUT: dict[Callable[..., Any], Callable[..., Tensor]] = {
    functional.hardsigmoid: _hard_sigmoid,
    functional.channel_shuffle: _channel_shuffle,
    torch.channel_shuffle: _channel_shuffle,
    torch.native_channel_shuffle: _channel_shuffle,
}
