"""The last feature maps of a classifier: what its head, from the pool on, works on."""

from __future__ import annotations

from torch import fx

from captum_paramsal.graph.class_scores import class_score_nodes
from captum_paramsal.graph.network import Network
from captum_paramsal.graph.operations import Kind, kind_of

_POOLS = frozenset({Kind.ADAPTIVE_MAX_POOL, Kind.AVERAGE_POOL, Kind.AVERAGE, Kind.MAXIMUM, Kind.REDUCTION})

_RESHAPES = frozenset({Kind.FLATTENING, Kind.RESHAPING})

_MAKES_VECTORS = _RESHAPES | {Kind.CONVOLUTION}
"""What makes vectors of maps."""

_ACTIVATIONS = frozenset({Kind.ACTIVATION, Kind.GATED_ACTIVATION, Kind.ELEMENTWISE})

_EACH_CHANNEL = frozenset({
    Kind.MAX_POOL, Kind.AVERAGE_POOL, Kind.OTHER_POOL, Kind.BATCH_NORMALIZATION, Kind.INSTANCE_NORMALIZATION,
})  # fmt: skip
"""What works on each channel of the maps by itself."""

_SAME = frozenset({Kind.SAME, Kind.DROPOUT})
"""What returns the maps as they are."""

_SCALING = frozenset({Kind.SUM, Kind.PRODUCT, Kind.QUOTIENT})
"""Arithmetic with what does not depend on the inputs."""

_MIXING = frozenset({Kind.ATTENTION, Kind.CONTRACTION})

_HEAD = _POOLS | _ACTIVATIONS | _SAME | _SCALING | frozenset({
    Kind.FLATTENING, Kind.RESHAPING, Kind.LINEAR, Kind.SOFTMAX, Kind.BATCH_NORMALIZATION, Kind.NORMALIZATION,
    Kind.RMS_NORMALIZATION, Kind.LOCAL_NORMALIZATION, Kind.REARRANGEMENT,
})  # fmt: skip
"""What a head consists of, with a convolution that holds the class scores or works on pooled vectors."""


def last_feature_maps(network: Network) -> str | None:
    """Name of the module that returns the maps, or the tokens, before the head.

    The network is followed backwards from its output, for as long as there is one way only and it leads through what a
    head consists of. The maps are before the first pool or flattening on this way, or before a convolution that holds
    the class scores. Of several modules that return these very maps, the outermost is named: in a network with branches
    that is the block. Tokens are those before the class token, or their mean, is taken.

    Where the head reads the class token alone, no other token of these has any bearing on the scores: then it is the
    tokens that the last attention mixes.

    Returns:
        The name; None where the way leads elsewhere, or the maps, or those tokens, belong to no module.
    """
    if len(network.outputs) != 1:
        return None
    maps = _maps_before_head(network)
    if maps is not None and _is_read_in_one_token(network, maps):
        return _before_last_mixing(network, maps)
    aliases: list[str] = []
    # The maps may be no module's own output, as those of a pool that is used twice: then they are looked for before
    # what only squashes, pools or copies them.
    while maps is not None:
        named, kind = modules_at(network, maps), kind_of(maps, network.model)
        if named and kind not in _SAME:
            return named[0]
        aliases += named
        # Among them the tokens of places without the class token.
        passes = kind in _SAME | _ACTIVATIONS | _RESHAPES | _EACH_CHANNEL or (
            kind is Kind.REARRANGEMENT and named == []
        )
        maps = _before(network, maps) if passes else None
    return aliases[0] if aliases else None


def _maps_before_head(network: Network) -> fx.Node | None:
    """The value before the first pool or flattening; None if there is none on the way back from the output."""
    scores, maps, pooled = set(class_score_nodes(network)), None, None
    waiting = {network.outputs[0]}
    while waiting:
        node = max(waiting, key=lambda candidate: candidate.meta["number"])
        waiting.remove(node)
        sources = {source for source in node.all_input_nodes if source in network.of_inputs}
        if not sources or not (node in scores or _is_in_head(network, node, len(sources))):
            break
        # Several heads on one vector: the way goes on where they meet.
        waiting |= sources
        if len(waiting) == 1:
            before = next(iter(waiting))
            maps = before if node in scores or _ends_maps(network, node, before) else maps
            # Of images so small that their maps have one place, a pool alone tells.
            if pooled is None and kind_of(node, network.model) in _POOLS and len(network.shapes.get(before, ())) > 3:
                pooled = before
    return pooled if maps is None else maps


def _is_in_head(network: Network, node: fx.Node, sources: int) -> bool:
    kind, vector = kind_of(node, network.model), _is_vector(network, node)
    if sources > 1:
        return vector and kind in _SCALING
    # A convolution over pooled maps of one place is a linear layer.
    return kind in _HEAD or (kind is Kind.CONVOLUTION and vector)


def _ends_maps(network: Network, node: fx.Node, before: fx.Node) -> bool:
    kind, vector = kind_of(node, network.model), _is_vector(network, node)
    if _is_vector(network, before):
        # A pool that makes a map of one place larger adds nothing to it.
        return kind in _POOLS and not vector
    # A reshape of a map to tokens, or back, ends nothing.
    return kind in _POOLS or (vector and kind in _MAKES_VECTORS) or _takes_tokens(network, node, before)


def modules_at(network: Network, node: fx.Node) -> list[str]:
    """Modules, called once, that return this very value of their own, the outermost first."""
    names = [name for name, calls in network.calls.items() if name and len(calls) == 1 and calls[0].returned is node]
    return sorted(names, key=lambda name: (name.count("."), len(name)))


def _is_vector(network: Network, node: fx.Node) -> bool:
    """Whether a value has one place alone."""
    shape = network.shapes.get(node)
    return shape is not None and shape[:2].numel() == shape.numel()


def _takes_tokens(network: Network, node: fx.Node, before: fx.Node) -> bool:
    """Whether an operation takes one token, or some, out of all."""
    shapes = network.shapes
    return (
        kind_of(node, network.model) is Kind.REARRANGEMENT
        and len(shapes.get(before, ())) == 3
        and node in shapes
        and shapes[node].numel() < shapes[before].numel()
    )


def _is_read_in_one_token(network: Network, tokens: fx.Node) -> bool:
    """Whether the scores read one of some tokens alone, such as the class token; norms and copies may come first."""
    shape = network.shapes.get(tokens)
    behind = _ancestors(network, network.outputs[0]) | {network.outputs[0]}
    waiting, taken = list(tokens.users), False
    while waiting:
        node = waiting.pop()
        if node not in behind:
            continue
        if _takes_tokens(network, node, tokens):
            if network.shapes[node].numel() * network.shapes[tokens][1] != network.shapes[tokens].numel():
                return False
            taken = True
        elif network.shapes.get(node) == shape and kind_of(node, network.model) in _HEAD:
            waiting += node.users
        else:
            return False
    return taken


def _before_last_mixing(network: Network, maps: fx.Node) -> str | None:
    """Name of the module that returns the tokens which the last attention before others mixes; None without one."""
    behind = _ancestors(network, maps)
    mixings = [node for node in behind if kind_of(node, network.model) in _MIXING and _is_of_computed(network, node)]
    last = max((node.meta["number"] for node in mixings), default=-1)
    count, _, width = network.shapes[maps]
    earlier = [node for node in behind if node.meta["number"] < last and _is_of_tokens(network, node, count, width)]
    for node in sorted(earlier, key=lambda candidate: -candidate.meta["number"]):
        names = modules_at(network, node)
        # A norm inside of a block is passed by the block's residual branch: the way has to lead through one value.
        if names and not any(source.op == "placeholder" for source in _ancestors(network, maps, without=node)):
            return names[0]
    return None


def _is_of_tokens(network: Network, node: fx.Node, count: int, width: int) -> bool:
    """Whether a value holds several tokens of that width, with or without a class token that joins later."""
    shape = network.shapes.get(node, ())
    return len(shape) == 3 and shape[0] == count and shape[2] == width and shape[1] > 1


def _is_of_computed(network: Network, node: fx.Node) -> bool:
    return sum(source in network.of_inputs for source in node.all_input_nodes) > 1


def _ancestors(network: Network, node: fx.Node, without: fx.Node | None = None) -> set[fx.Node]:
    """What a value depends on, through the inputs' own operations; as if another value were given."""
    waiting, sources = [node], set()
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source in network.of_inputs and source is not without and source not in sources:
                sources.add(source)
                waiting.append(source)
    return sources


def _before(network: Network, node: fx.Node) -> fx.Node | None:
    """What an operation works on; None for one that works on several things."""
    given = [source for source in node.all_input_nodes if source in network.of_inputs]
    return given[0] if len(given) == 1 else None
