"""A forward pass whose backward pass hands back relevance where no module makes the operation.

Rules for layers with weights are a library's, such as zennit's, which replaces the gradients of modules. Between them
stand operations that are functions in many networks: sums of a block and its shortcut, means, activations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from captum_paramsal.functional import relevance_of_part
from captum_paramsal.graph.network import Network
from captum_paramsal.graph.operations import OPERATIONS, Kind, kind_of, name_of

_ACTIVATIONS = frozenset({Kind.ACTIVATION, Kind.GATED_ACTIVATION})
_MEANS = frozenset({Kind.AVERAGE, Kind.AVERAGE_POOL, Kind.REDUCTION})
_SCALING = frozenset({Kind.PRODUCT, Kind.QUOTIENT})
_WEIGHTED = frozenset({Kind.CONVOLUTION, Kind.LINEAR})

_AS_GRADIENTS = frozenset({
    Kind.MAX_POOL, Kind.ADAPTIVE_MAX_POOL, Kind.MAXIMUM, Kind.FLATTENING, Kind.RESHAPING, Kind.REARRANGEMENT, Kind.SAME,
    Kind.DROPOUT,
})  # fmt: skip
"""Whose relevance goes the way that gradients go: values in other places, and the largest of several."""

_LAYERS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip


def _names(kind: Kind) -> list[str]:
    return [call if isinstance(call, str) else call.__name__ for call in OPERATIONS[kind].calls]


_KINDS = {
    name: kind for kind in (*_ACTIVATIONS, *_MEANS, *_SCALING, Kind.SUM) for name in _names(kind) if name != "logsumexp"
} | {"radd": Kind.SUM, "rmul": Kind.PRODUCT}


class RelevanceRun(TorchFunctionMode):
    """While it lasts, functions take part in a graph whose gradients are relevance.

    A sum hands it to its terms by their shares, a mean to what it was taken of by theirs; activations and factors that
    do not depend on the inputs hand on all. Weights have to be frozen, since what needs a gradient counts as computed.

    >>> first, second = torch.tensor([3.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    >>> with RelevanceRun():
    ...     result = torch.relu(2 * (first + second))
    >>> [share.round().item() for share in torch.autograd.grad(result, (first, second), torch.tensor([8.0]))]
    [6.0, 2.0]
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        named = dict(kwargs or {})
        given = (named.pop("input"), *args) if "input" in named else args
        computed = [value for value in given if isinstance(value, Tensor) and value.requires_grad]
        kind = _KINDS.get(func.__name__.strip("_")) if computed else None
        if kind in _ACTIVATIONS or (kind in _SCALING and len(computed) == 1):
            return _HandedOn.apply(computed[0], _apart(func, given, named))
        if kind is Kind.SUM and len(computed) == 2:
            return _Shared.apply(_apart(func, given, named), *computed)
        if kind in _MEANS:
            return _Averaged.apply(given[0], lambda values: func(values, *given[1:], **named))
        return func(*args, **(kwargs or {}))


def _apart(func: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    """What a function returns, without a graph, and without writing over what it is given."""
    copies = [value.detach().clone() if isinstance(value, Tensor) else value for value in given]
    with torch.no_grad():
        result: Tensor = func(*copies, **named)
    return result


class _HandedOn(torch.autograd.Function):
    """All relevance of a result belongs to what it was made of."""

    @staticmethod
    def forward(_: Any, given: Tensor, result: Tensor) -> Tensor:
        del given
        return result.clone()

    @staticmethod
    def backward(_: Any, *relevance: Tensor) -> Any:
        return relevance[0], None


class _Shared(torch.autograd.Function):
    """Relevance of a sum belongs to its terms by their shares."""

    @staticmethod
    def forward(context: Any, whole: Tensor, *parts: Tensor) -> Tensor:
        context.save_for_backward(whole, *parts)
        return whole.clone()

    @staticmethod
    def backward(context: Any, *relevance: Tensor) -> Any:
        whole, *parts = context.saved_tensors
        return None, *(relevance_of_part(relevance[0], part, whole) for part in parts)


class _Averaged(torch.autograd.Function):
    """Relevance of a mean belongs to what it was taken of by the shares of that."""

    @staticmethod
    def forward(context: Any, given: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        context.save_for_backward(given)
        context.function = function
        return function(given.detach())

    @staticmethod
    def backward(context: Any, *relevance: Tensor) -> Any:
        (given,) = context.saved_tensors
        with torch.enable_grad():
            leaf = given.detach().requires_grad_()
            mean = context.function(leaf)
        (shares,) = torch.autograd.grad(mean, leaf, relevance_of_part(relevance[0], torch.ones_like(mean), mean))
        return shares * leaf.detach(), None


def without_relevance(network: Network, norms: Collection[str]) -> str | None:
    """The first operation that relevance has no rule for, in words; None where there is none.

    Args:
        network: A run.
        norms: Batch norms that are a part of the layer before them.
    """
    if network.unseen:
        return "values that came about unseen"
    for node in network.graph.nodes:
        if (
            node in network.of_inputs
            and node.op not in ("placeholder", "output")
            and not _has_rule(network, node, norms)
        ):
            where = node.meta["layer"]
            return f"{name_of(node.target).rpartition('.')[2]}{f' in {where!r}' if where else ''}"
    return None


def _has_rule(network: Network, node: fx.Node, norms: Collection[str]) -> bool:
    kind, layer = kind_of(node, network.model), node.meta["layer"]
    computed = [source for source in node.all_input_nodes if source in network.of_inputs]
    if kind in _WEIGHTED:
        return isinstance(network.model.get_submodule(layer), _LAYERS)
    if kind is Kind.BATCH_NORMALIZATION:
        return layer in norms
    if kind is Kind.SUM:
        shapes = {network.shapes.get(source) for source in computed}
        turned = "sub" in name_of(node.target)
        return len(computed) == 1 or (len(computed) == 2 and len(shapes) == 1 and not turned)
    if kind in _SCALING:
        return len(computed) == 1
    linear = "logsumexp" not in name_of(node.target)
    return kind in _AS_GRADIENTS | _ACTIVATIONS or (kind in _MEANS and linear)
