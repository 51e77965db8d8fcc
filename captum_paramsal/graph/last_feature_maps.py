"""The last feature maps of a classifier: what its head, from the pool on, works on."""

from __future__ import annotations

from torch import fx

from captum_paramsal.graph.class_scores import class_scores_of
from captum_paramsal.graph.network import Network
from captum_paramsal.graph.operations import Kind, kind_of

_END_MAPS = frozenset({
    Kind.ADAPTIVE_MAX_POOL, Kind.AVERAGE_POOL, Kind.AVERAGE, Kind.REDUCTION, Kind.FLATTENING, Kind.RESHAPING,
})  # fmt: skip
"""What makes vectors of maps."""

_ACTIVATIONS = frozenset({Kind.ACTIVATION, Kind.ELEMENTWISE})

_SAME = frozenset({Kind.SAME, Kind.DROPOUT})
"""What returns the maps as they are."""

_SCALING = frozenset({Kind.SUM, Kind.PRODUCT, Kind.QUOTIENT})
"""Arithmetic with what does not depend on the inputs."""

_HEAD = _END_MAPS | _ACTIVATIONS | _SAME | _SCALING | frozenset({
    Kind.LINEAR, Kind.SOFTMAX, Kind.BATCH_NORMALIZATION, Kind.NORMALIZATION, Kind.RMS_NORMALIZATION,
    Kind.LOCAL_NORMALIZATION,
})  # fmt: skip
"""What a head consists of, with a convolution that holds the class scores."""


def last_feature_maps(network: Network) -> str | None:
    """Name of the module that returns the maps before the head.

    The network is followed backwards from its output, for as long as there is one way only and it leads through what a
    head consists of. The maps are before the first pool or flattening on this way, or before a convolution that holds
    the class scores. Of several modules that return these very maps, the outermost is named: in a network with branches
    that is the block.

    Returns:
        The name; None where the way leads elsewhere, or the maps belong to no module.
    """
    modules = dict(network.model.named_modules())
    scores = class_scores_of(network.graph, network.model)
    output = next(node for node in network.graph.nodes if node.op == "output")
    node, maps = output.args[0], None
    while isinstance(node, fx.Node):
        kind = kind_of(node, modules)
        holds_scores = node.op == "call_module" and node.target in scores
        before = _before(node, kind) if holds_scores or kind in _HEAD else None
        if before is None:
            break
        node, maps = before, before if holds_scores or kind in _END_MAPS else maps
    # The maps may be no module's own output: then they are looked for before what only squashes or copies them.
    while maps is not None:
        named, kind = modules_at(network, maps), kind_of(maps, modules)
        if named and kind not in _SAME:
            return named[0]
        maps = _before(maps, kind) if kind in _SAME | _ACTIVATIONS else None
    return None


def modules_at(network: Network, node: fx.Node) -> list[str]:
    """Modules, called once, that return this very value, the outermost first."""
    names = [name for name, calls in network.calls.items() if len(calls) == 1 and calls[0].returned is node and name]
    return sorted(names, key=lambda name: (name.count("."), len(name)))


def _before(node: fx.Node, kind: Kind | None) -> fx.Node | None:
    """What an operation works on; None for arithmetic with several things."""
    given = [value for value in node.all_input_nodes if value.op != "get_attr"]
    return given[0] if given and (len(given) == 1 or kind not in _SCALING) else None
