"""Functions whose gradient PyTorch cannot differentiate, written so that it can.

A double backward pass differentiates gradients. Those of hard-sigmoid and of the native channel shuffle have no
derivative in the library, although they are linear in what arrives: their second derivative is 0 almost everywhere.
Those of norms by an example's own statistics have one, which under `vmap` takes the statistics for constants (seen in
2.14, see ``docs/upstream.md``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.autograd import Function
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from captum_paramsal.errors import ModelError
from captum_paramsal.hooks.graph_start import nodes_behind

_MISSING = re.compile(r"double backwards on (\w+) not supported|derivative for (?:aten::)?(\w+) is not implemented")
"""What PyTorch says of a gradient without a derivative."""


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """While this context lasts, what the library differentiates once only can be differentiated twice.

    Raises:
        ModelError: A function on the way whose gradient has no derivative, and that is not written out here either.
    """
    try:
        # Fused attention has no second derivative, the same written out has.
        with sdpa_kernel(SDPBackend.MATH), SecondDerivatives():
            yield
    except RuntimeError as error:
        missing = _MISSING.search(str(error))
        if missing is None:
            raise
        raise ModelError(_once(missing[1] or missing[2])) from error


def require_twice_differentiable(gradient: Tensor) -> None:
    """Refuse a gradient that came through a function of the model's own that is differentiable once.

    PyTorch takes what leads there for constant, and says nothing.

    Args:
        gradient: In a graph.

    Raises:
        ModelError: It did.
    """
    # What autograd puts in the place of a function marked with `once_differentiable`.
    if any(type(node).__name__ == "Error" for node in nodes_behind(gradient)):
        raise ModelError(_once("a function marked with `once_differentiable`"))


def _once(name: str) -> str:
    return (
        f"Expected a model that can be differentiated twice, got one with {name}, whose gradient has no derivative. "
        "Scores of filters and evidence of channels need none."
    )


class SecondDerivatives(TorchFunctionMode):
    """Functions that are written out, while this mode lasts."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        written_out = _WRITTEN_OUT.get(func)
        if func in _UNDER_VMAP and is_functorch_wrapped_tensor(args[0] if args else kwargs["input"]):
            written_out = _UNDER_VMAP[func]
        return func(*args, **kwargs) if written_out is None else written_out(*args, **kwargs)


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


def _layer_norm(  # noqa: PLR0917 -- the function's signature
    input: Tensor,  # noqa: A002
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,  # noqa: FBT001, FBT002
) -> Tensor:
    del cudnn_enable
    normed = _standardized(input, [-1 - place for place in range(len(normalized_shape))], eps)
    normed = normed if weight is None else normed * weight
    return normed if bias is None else normed + bias


def _instance_norm(  # noqa: PLR0917
    input: Tensor,  # noqa: A002
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,  # noqa: FBT001, FBT002
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # noqa: FBT001, FBT002
) -> Tensor:
    del momentum, cudnn_enabled
    if not use_input_stats:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    return _by_channel(_standardized(input, list(range(2, input.ndim)), eps), weight, bias)


def _batch_norm(  # noqa: PLR0917
    input: Tensor,  # noqa: A002
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: FBT001, FBT002
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # noqa: FBT001, FBT002
) -> Tensor:
    del momentum, cudnn_enabled
    if not training:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    return _by_channel(_standardized(input, [0, *range(2, input.ndim)], eps), weight, bias)


def _standardized(inputs: Tensor, dimensions: list[int], epsilon: float) -> Tensor:
    centred = inputs - inputs.mean(dimensions, keepdim=True)
    result: Tensor = centred * torch.rsqrt(centred.square().mean(dimensions, keepdim=True) + epsilon)
    return result


def _by_channel(normed: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = (-1, *[1] * (normed.ndim - 2))
    normed = normed if weight is None else normed * weight.reshape(shape)
    return normed if bias is None else normed + bias.reshape(shape)


_WRITTEN_OUT: dict[Callable[..., Any], Callable[..., Tensor]] = {
    functional.hardsigmoid: _hard_sigmoid,
    functional.channel_shuffle: _channel_shuffle,
    torch.channel_shuffle: _channel_shuffle,
    torch.native_channel_shuffle: _channel_shuffle,
}

_UNDER_VMAP: dict[Callable[..., Any], Callable[..., Tensor]] = {
    functional.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    functional.instance_norm: _instance_norm,
    torch.instance_norm: _instance_norm,
    functional.batch_norm: _batch_norm,
    torch.batch_norm: _batch_norm,
}
