"""The last feature maps of a classifier: what its head, from the pool on, works on."""

from __future__ import annotations

from torch import fx

from captum_paramsal.graph.class_scores import class_score_nodes
from captum_paramsal.graph.network import Network
from captum_paramsal.graph.operations import Kind, kind_of

_END_MAPS = frozenset({
    Kind.ADAPTIVE_MAX_POOL, Kind.AVERAGE_POOL, Kind.AVERAGE, Kind.MAXIMUM, Kind.REDUCTION, Kind.FLATTENING,
    Kind.RESHAPING,
})  # fmt: skip
"""What makes vectors of maps."""

_ACTIVATIONS = frozenset({Kind.ACTIVATION, Kind.GATED_ACTIVATION, Kind.ELEMENTWISE})

_SAME = frozenset({Kind.SAME, Kind.DROPOUT})
"""What returns the maps as they are."""

_SCALING = frozenset({Kind.SUM, Kind.PRODUCT, Kind.QUOTIENT})
"""Arithmetic with what does not depend on the inputs."""

_HEAD = _END_MAPS | _ACTIVATIONS | _SAME | _SCALING | frozenset({
    Kind.LINEAR, Kind.SOFTMAX, Kind.BATCH_NORMALIZATION, Kind.NORMALIZATION, Kind.RMS_NORMALIZATION,
    Kind.LOCAL_NORMALIZATION, Kind.REARRANGEMENT,
})  # fmt: skip
"""What a head consists of, with a convolution that holds the class scores or works on pooled vectors."""


def last_feature_maps(network: Network) -> str | None:
    """Name of the module that returns the maps, or the tokens, before the head.

    The network is followed backwards from its output, for as long as there is one way only and it leads through what a
    head consists of. The maps are before the first pool or flattening on this way, or before a convolution that holds
    the class scores. Of several modules that return these very maps, the outermost is named: in a network with branches
    that is the block. Tokens are those before the class token, or their mean, is taken.

    Returns:
        The name; None where the way leads elsewhere, or the maps belong to no module.
    """
    scores = set(class_score_nodes(network))
    if len(network.outputs) != 1:
        return None
    node, maps = network.outputs[0], None
    while True:
        kind, vector = kind_of(node, network.model), _is_vector(network, node)
        holds_scores = node in scores
        # A convolution over pooled maps of one place is a linear layer.
        in_head = holds_scores or kind in _HEAD or (kind is Kind.CONVOLUTION and vector)
        before = _before(network, node) if in_head else None
        if before is None:
            break
        makes_vectors = kind in _END_MAPS or (kind is Kind.CONVOLUTION and vector)
        ends = holds_scores or _takes_tokens(network, node) or (makes_vectors and not _is_vector(network, before))
        node, maps = before, before if ends else maps
    # The maps may be no module's own output: then they are looked for before what only squashes or copies them.
    while maps is not None:
        named, kind = modules_at(network, maps), kind_of(maps, network.model)
        if named and kind not in _SAME:
            return named[0]
        maps = _before(network, maps) if kind in _SAME | _ACTIVATIONS else None
    return None


def modules_at(network: Network, node: fx.Node) -> list[str]:
    """Modules, called once, that return this very value of their own, the outermost first."""
    names = [name for name, calls in network.calls.items() if name and len(calls) == 1 and calls[0].returned is node]
    return sorted(names, key=lambda name: (name.count("."), len(name)))


def _is_vector(network: Network, node: fx.Node) -> bool:
    """Whether a value has one place alone."""
    shape = network.shapes[node]
    return shape[:2].numel() == shape.numel()


def _takes_tokens(network: Network, node: fx.Node) -> bool:
    """Whether an operation takes one token, or some, out of all."""
    before = _before(network, node)
    shapes = network.shapes
    return (
        kind_of(node, network.model) is Kind.REARRANGEMENT
        and before is not None
        and len(shapes[before]) == 3
        and shapes[node].numel() < shapes[before].numel()
    )


def _before(network: Network, node: fx.Node) -> fx.Node | None:
    """What an operation works on; None for one that works on several things."""
    given = [source for source in node.all_input_nodes if source in network.of_inputs]
    return given[0] if len(given) == 1 else None
