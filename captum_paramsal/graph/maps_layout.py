"""How a layer's output holds maps: channels first or last, or tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from captum_paramsal.graph.network import Network
from captum_paramsal.graph.operations import Kind, kind_of, name_of

MOST_TOKENS_APART = 16
"""More tokens than these beside those of the places are not taken for class tokens and registers."""

_CHANNELS_FIRST = frozenset({
    Kind.CONVOLUTION, Kind.BATCH_NORMALIZATION, Kind.INSTANCE_NORMALIZATION, Kind.LOCAL_NORMALIZATION, Kind.MAX_POOL,
    Kind.ADAPTIVE_MAX_POOL, Kind.AVERAGE_POOL, Kind.OTHER_POOL, Kind.RESIZING,
})  # fmt: skip

_SAME_PLACE = frozenset({
    Kind.ACTIVATION, Kind.GATED_ACTIVATION, Kind.ELEMENTWISE, Kind.NEGATION, Kind.SAME, Kind.DROPOUT, Kind.SUM,
    Kind.PRODUCT, Kind.QUOTIENT,
})  # fmt: skip
"""Kinds that leave every value where it is."""


@dataclass(frozen=True)
class MapsLayout:
    """How a tensor of one row per image holds maps.

    Attributes:
        channels_last: Whether the channels are its last dimension.
        apart: Tokens before those of the places, such as the class token.
        places: Sizes of the places' dimensions, such as ``(H, W)``.
    """

    channels_last: bool
    apart: int
    places: tuple[int, ...]

    def maps(self, tensor: Tensor) -> Tensor:
        """The maps ``(N, K, *places)``; a view."""
        if not self.channels_last:
            return tensor
        rows = tensor.flatten(1, -2)[:, self.apart :]
        maps: Tensor = rows.transpose(1, 2).unflatten(2, self.places)
        return maps

    def tensor(self, maps: Tensor, like: Tensor) -> Tensor:
        """The tensor that holds these maps.

        Args:
            maps: ``(R, K, *places)``.
            like: Where the tokens that are no places are taken from, ``(R, ...)``.
        """
        if not self.channels_last:
            return maps
        rows = maps.flatten(2).transpose(1, 2)
        if self.apart:
            rows = torch.cat([like[:, : self.apart], rows], dim=1)
        return rows.reshape(like.shape)


def maps_layout(network: Network, node: fx.Node) -> MapsLayout | None:
    """How the result of an operation holds maps; None where it holds none, or cannot be told to.

    Where the channels are is told by the operations that read the value, or made it: a convolution has them first, a
    linear layer last. Tokens are laid out as the map that they were made of.
    """
    shape = network.shapes[node]
    if len(shape) < 3:
        return None
    last = _channels_last(network, node)
    if len(shape) > 3 or not last:
        return MapsLayout(last, 0, tuple(shape[1:-1] if last else shape[2:]))
    return tokens_layout(network, node, shape[1])


def tokens_layout(network: Network, node: fx.Node, tokens: int) -> MapsLayout | None:
    """How so many tokens hold maps, ``(N, tokens, K)``; None where no map is found that they were made of.

    Args:
        network: A run.
        node: An operation after the map.
        tokens: Their number, with those that are no places.
    """
    places = _grid(network, node, tokens)
    return None if places is None else MapsLayout(channels_last=True, apart=tokens - prod(places), places=places)


def _channels_last(network: Network, node: fx.Node) -> bool:
    """Whether the nearest operation that tells has the channels last; of three dimensions they are, if none tells."""
    answer = _nearest_answer(network, list(node.users), lambda operation: list(operation.users), network.shapes[node])
    if answer is None:
        answer = _nearest_answer(network, [node], lambda operation: operation.all_input_nodes, network.shapes[node])
    return len(network.shapes[node]) == 3 if answer is None else answer


def _nearest_answer(
    network: Network, starts: Sequence[fx.Node], onwards: Callable[[fx.Node], Sequence[fx.Node]], shape: torch.Size
) -> bool | None:
    waiting, seen = list(starts), set[fx.Node]()
    while waiting:
        node = waiting.pop(0)
        if node in seen or node not in network.of_inputs:
            continue
        seen.add(node)
        answer = _answer(network, node)
        if answer is not None:
            return answer
        if kind_of(node, network.model) in _SAME_PLACE and network.shapes.get(node) == shape:
            waiting += onwards(node)
    return None


def _answer(network: Network, node: fx.Node) -> bool | None:
    kind = kind_of(node, network.model)
    if kind in _CHANNELS_FIRST:
        return False
    if kind is Kind.LINEAR or kind is Kind.RMS_NORMALIZATION:
        return True
    if kind is Kind.NORMALIZATION:
        return "layer" in name_of(node.target)
    if kind in (Kind.AVERAGE, Kind.MAXIMUM, Kind.REDUCTION):
        given: Any = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        dimensions = given if isinstance(given, (tuple, list)) else (given,)
        total = len(network.shapes[node.all_input_nodes[0]])
        if all(isinstance(dimension, int) for dimension in dimensions):
            gone = {dimension % total for dimension in dimensions}
            # One that leaves places, or goes over the images, may go over either.
            return next(
                (last for last in (False, True) if gone == {*range(1, total)} - {total - 1 if last else 1}), None
            )
    return None


def _grid(network: Network, node: fx.Node, tokens: int) -> tuple[int, ...] | None:
    """Places of the nearest map before the tokens that there is a token for at each place."""
    candidates = []
    for distance, operation in enumerate(_before(network, node)):
        shape = network.shapes.get(operation)
        if shape is None or len(shape) < 4 or kind_of(operation, network.model) is Kind.ATTENTION:
            continue
        for places in (tuple(shape[2:]), tuple(shape[1:-1])):
            if 0 <= tokens - prod(places) <= MOST_TOKENS_APART and prod(places) > 1:
                first = kind_of(operation, network.model) in _CHANNELS_FIRST
                candidates.append((not first, tokens - prod(places), distance, places))
    if candidates:
        return min(candidates)[-1]
    # Without a map to go by, such as where patches are cut before the model: a square, beside what the model tells of.
    placed = tokens - getattr(network.model, "num_prefix_tokens", 0)
    side = round(max(placed, 0) ** 0.5)
    return (side, side) if side * side == placed else None


def _before(network: Network, node: fx.Node) -> Iterator[fx.Node]:
    """What a value was made of, the nearest first."""
    waiting, seen = [node], {node}
    while waiting:
        operation = waiting.pop(0)
        yield operation
        for source in operation.all_input_nodes:
            if source in network.of_inputs and source not in seen:
                seen.add(source)
                waiting.append(source)
