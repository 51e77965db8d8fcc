"""A network as a plain list of operations, and its values for one image: what the slow tracing walks along.

A network is a list of operations, one after the other. Three of them hold lists of their own: :class:`Add`,
:class:`Cat` and :class:`Gate`. :func:`flat` numbers them all. Every value is ``(C, H, W)`` in float64; a vector of C
features is ``(C, 1, 1)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Operation:
    """One step; ``name`` is that of the module, empty for what is no module."""

    name: str = field(default="", kw_only=True)


@dataclass(frozen=True, eq=False)
class Input(Operation):
    """The image."""


@dataclass(frozen=True, eq=False)
class Linear(Operation):
    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class Convolution(Operation):
    """``around`` is the padding on the left and on the right (or above and below) of each axis."""

    weight: np.ndarray
    bias: np.ndarray
    stride: Pair = (1, 1)
    around: tuple[Pair, Pair] = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    padding_mode: str = "constant"


@dataclass(frozen=True, eq=False)
class BatchNorm(Operation):
    """With the batch's statistics frozen: value * ``scale`` + ``shift`` in each channel."""

    mean: np.ndarray
    var: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    eps: float

    @property
    def scale(self) -> np.ndarray:
        return self.gamma / np.sqrt(self.var + self.eps)


@dataclass(frozen=True, eq=False)
class Pointwise(Operation):
    """An activation, or nothing at all (dropout, identity)."""

    function: Callable[[Tensor], Tensor] = torch.clone


@dataclass(frozen=True, eq=False)
class MaxPool(Operation):
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False


@dataclass(frozen=True, eq=False)
class AveragePool(Operation):
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = True


@dataclass(frozen=True, eq=False)
class AdaptiveAveragePool(Operation):
    """A mean over all places is the one with a single output place."""

    size: Pair = (1, 1)


@dataclass(frozen=True, eq=False)
class Flatten(Operation):
    """``(C, H, W)`` to ``(C H W, 1, 1)``."""


@dataclass(frozen=True, eq=False)
class EverySecond(Operation):
    """Every second row and column."""


@dataclass(frozen=True, eq=False)
class MoreChannels(Operation):
    """Channels of zeros before and after."""

    before: int
    after: int


@dataclass(frozen=True, eq=False)
class Channels(Operation):
    """These channels in this order: a part of all, or all of them shuffled."""

    order: Sequence[int]


@dataclass(frozen=True, eq=False)
class Add(Operation):
    """``left(x) + sign * right(x)``."""

    left: Sequence[Operation]
    right: Sequence[Operation]
    sign: int = 1


@dataclass(frozen=True, eq=False)
class Cat(Operation):
    """The channels of each branch, one after the other."""

    branches: Sequence[Sequence[Operation]]


@dataclass(frozen=True, eq=False)
class Gate(Operation):
    """``trunk(x) * gate(x)``; the gate is ``(C, 1, 1)``."""

    trunk: Sequence[Operation]
    gate: Sequence[Operation]


@dataclass(frozen=True, eq=False)
class Node:
    """An operation and the numbers of the nodes that it takes its values from."""

    operation: Operation
    sources: tuple[int, ...]


def flat(network: Sequence[Operation]) -> list[Node]:
    """Every operation of a network, numbered so that each comes after its sources; node 0 is the image."""
    nodes = [Node(Input(name="input"), ())]
    _append(nodes, network, 0)
    return nodes


def _append(nodes: list[Node], network: Sequence[Operation], source: int) -> int:
    for operation in network:
        sources = tuple(_append(nodes, branch, source) for branch in branches(operation)) or (source,)
        nodes.append(Node(operation, sources))
        source = len(nodes) - 1
    return source


def branches(operation: Operation) -> Sequence[Sequence[Operation]]:
    if isinstance(operation, Add):
        return [operation.left, operation.right]
    if isinstance(operation, Cat):
        return operation.branches
    if isinstance(operation, Gate):
        return [operation.trunk, operation.gate]
    return []


def values(nodes: Sequence[Node], image: np.ndarray) -> list[np.ndarray]:
    """What every node puts out for one image ``(C, H, W)``."""
    found: list[np.ndarray] = []
    for node in nodes:
        if isinstance(node.operation, Input):
            found.append(np.asarray(image, dtype=np.float64))
        else:
            found.append(output(node.operation, [found[source] for source in node.sources]))
    return found


def output(operation: Operation, sources: Sequence[np.ndarray]) -> np.ndarray:  # noqa: C901, PLR0911, PLR0912
    """One operation's value ``(C, H, W)``. The arithmetic is PyTorch's, so that equal values are equal here too."""
    tensors = [torch.from_numpy(source)[None] for source in sources]
    x = tensors[0]
    match operation:
        case Linear():
            return _array(functional.linear(x.flatten(1), _tensor(operation.weight), _tensor(operation.bias)))
        case Convolution():
            o, weight, bias = operation, _tensor(operation.weight), _tensor(operation.bias)
            padded = torch.from_numpy(padded_for(o, sources[0]))[None]
            return _array(functional.conv2d(padded, weight, bias, o.stride, 0, o.dilation, o.groups))
        case BatchNorm():
            statistics = map(_tensor, (operation.mean, operation.var, operation.gamma, operation.beta))
            return _array(functional.batch_norm(x, *statistics, eps=operation.eps))
        case Pointwise():
            return _array(operation.function(x))
        case MaxPool():
            o = operation
            return _array(functional.max_pool2d(x, o.kernel, o.stride, o.padding, o.dilation, o.ceil_mode))
        case AveragePool():
            o = operation
            return _array(functional.avg_pool2d(x, o.kernel, o.stride, o.padding, o.ceil_mode, o.count_include_pad))
        case AdaptiveAveragePool():
            return _array(functional.adaptive_avg_pool2d(x, operation.size))
        case Flatten():
            return sources[0].reshape(-1, 1, 1)
        case EverySecond():
            return sources[0][:, ::2, ::2]
        case MoreChannels():
            return np.pad(sources[0], ((operation.before, operation.after), (0, 0), (0, 0)))
        case Channels():
            return sources[0][list(operation.order)]
        case Add():
            return sources[0] + operation.sign * sources[1]
        case Cat():
            return np.concatenate(sources)
        case Gate():
            return sources[0] * sources[1]
    raise TypeError(operation)


def padded_for(convolution: Convolution, value: np.ndarray) -> np.ndarray:
    """``(C, H, W)`` with the rows and columns that the convolution lays around it."""
    return np.pad(value, ((0, 0), *convolution.around), mode=convolution.padding_mode)  # type: ignore[call-overload]


def average_window(operation: Any, size: Pair, y: int, x: int) -> tuple[range, range, float]:
    """Rows and columns of the map ``size`` that output place (y, x) averages, and what their sum is divided by."""
    if isinstance(operation, AdaptiveAveragePool):
        spans = [
            range(place * n // parts, -(-(place + 1) * n // parts))
            for place, n, parts in zip((y, x), size, operation.size, strict=True)
        ]
        return spans[0], spans[1], float(len(spans[0]) * len(spans[1]))
    inside, divisor = [], 1
    axes = zip((y, x), size, operation.kernel, operation.stride, operation.padding, strict=True)
    for place, n, kernel, stride, padding in axes:
        first = place * stride - padding
        last = min(first + kernel, n + padding)  # a window that hangs over the padding does not count what hangs over
        inside.append(range(max(first, 0), min(last, n)))
        divisor *= last - first if operation.count_include_pad else len(inside[-1])
    return inside[0], inside[1], float(divisor)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array))


def _array(batch: Tensor) -> np.ndarray:
    array = batch[0].numpy()
    return array if array.ndim == 3 else array.reshape(-1, 1, 1)
