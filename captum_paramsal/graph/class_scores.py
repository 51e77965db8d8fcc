"""Layers whose output channels are the class scores themselves.

SqueezeNet and Network-in-Network end in such a convolution: its channels are averaged over all places and returned.
Ranked among the filters, the wrong class and the true class would always be among the guiltiest, which explains
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx, nn

from captum_paramsal.graph.network import Network
from captum_paramsal.graph.operations import Kind, kind_of, kind_of_type, name_of
from captum_paramsal.graph.probing import probed_network

_KEEP_CHANNELS_APART = frozenset({
    Kind.ACTIVATION, Kind.GATED_ACTIVATION, Kind.ELEMENTWISE, Kind.NEGATION, Kind.SOFTMAX, Kind.SAME, Kind.DROPOUT,
    Kind.BATCH_NORMALIZATION, Kind.INSTANCE_NORMALIZATION, Kind.MAX_POOL, Kind.ADAPTIVE_MAX_POOL, Kind.AVERAGE_POOL,
    Kind.OTHER_POOL, Kind.RESIZING, Kind.FLATTENING, Kind.RESHAPING, Kind.SUM, Kind.PRODUCT, Kind.QUOTIENT,
    Kind.LARGER, Kind.ORDER,
})  # fmt: skip

_OVER_DIMENSIONS = frozenset({Kind.AVERAGE, Kind.REDUCTION, Kind.MAXIMUM, Kind.SOFTMAX})
"""Kinds that keep channels apart where they go over places alone."""

_TAKING = frozenset({"getitem", "select", "unsqueeze", "narrow", "stack", "index_select", "flip", "pad"})

_PLACES = {2, 3, 4, -1, -2}
"""Dimensions that hold places, whatever the number of dimensions."""

_NORMALIZATIONS = frozenset({Kind.BATCH_NORMALIZATION, Kind.INSTANCE_NORMALIZATION, Kind.NORMALIZATION})


def class_score_layers(model: nn.Module) -> frozenset[str]:
    """Names of the convolutions whose channels are the class scores, directly or through a pool over all places.

    The network is followed backwards from its output through operations that keep channels apart, in a run on inputs
    that the model itself tells of, see :func:`captum_paramsal.graph.probing.probed_network`. A model that tells nothing
    is taken to end in its last registered convolution if it has no other kind of layer.

    Args:
        model: A classifier in evaluation mode.

    >>> nin = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> sorted(class_score_layers(nin))
    ['2']
    """
    network = probed_network(model)
    return _last_registered(model) if network is None else class_scores_of(network)


def class_scores_of(network: Network) -> frozenset[str]:
    """The same for a network that ran."""
    return frozenset(node.meta["layer"] for node in class_score_nodes(network))


def class_score_nodes(network: Network) -> Iterator[fx.Node]:
    """The convolutions' operations."""
    waiting, seen = list(network.outputs), set[fx.Node]()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        kind = kind_of(node, network.model)
        if kind is Kind.CONVOLUTION:
            yield node
        elif _keeps_channels_apart(network, node, kind):
            waiting.extend(source for source in node.all_input_nodes if source in network.of_inputs)


def _keeps_channels_apart(network: Network, node: fx.Node, kind: Kind | None) -> bool:
    if kind in _OVER_DIMENSIONS and node.op != "call_module":
        return _goes_over_places(node, kind) or _goes_over_stacked(network, node)
    if kind is Kind.REARRANGEMENT:
        return _leaves_channels(network, node)
    return kind in _KEEP_CHANNELS_APART


def _goes_over_places(node: fx.Node, kind: Kind | None) -> bool:
    """Whether a reduction's dimensions are given and hold places; the softmax of flat scores is one over classes."""
    given = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    dimensions = set(given) if isinstance(given, (tuple, list)) else {given}
    return dimensions <= _PLACES or (kind is Kind.SOFTMAX and dimensions == {1})


def _leaves_channels(network: Network, node: fx.Node) -> bool:
    """Whether values are taken, or put beside each other, so that the channels stay where they are."""
    before, after = network.shapes.get(node.all_input_nodes[0]), network.shapes.get(node)
    name = name_of(node.target).rpartition(".")[2]
    if name not in _TAKING or after is None:
        return False
    if name == "stack" and before == after[1:]:
        return True
    # One of several results has no shape before; scores that are in no places may be taken in any order.
    return before is None or len(before) == 2 == len(after) or before[:2] == after[:2]


def _goes_over_stacked(network: Network, node: fx.Node) -> bool:
    """Whether a reduction goes over several values that were stacked in front of the images."""
    given = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    before = node.all_input_nodes[0]
    return given in (0, (0,), [0]) and network.shapes.get(before, ())[1:] == network.shapes.get(node)


def _last_registered(model: nn.Module) -> frozenset[str]:
    """The last convolution of a model that has no other layer to make class scores with."""
    weighted = [
        (name, kind)
        for name, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False))
        and (kind := kind_of_type(type(module))) not in _NORMALIZATIONS
    ]
    if not weighted or any(kind is not Kind.CONVOLUTION for _, kind in weighted):
        return frozenset()
    return frozenset([weighted[-1][0]])
