"""The last feature maps of a classifier: what its head, from the pool on, works on."""

from __future__ import annotations

from torch import fx, nn

from captum_paramsal.graph.class_scores import class_scores_of
from captum_paramsal.graph.network import Network

_ENDS_MAPS = {
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "amax", "avg_pool2d", "class scores", "flatten", "mean", "mean_dim",
    "reshape", "squeeze", "view",
}  # fmt: skip
"""What makes vectors of maps."""

_ACTIVATIONS = {
    "activation", "gelu", "hardswish", "leaky_relu", "relu", "relu6", "relu_", "sigmoid", "silu", "sin",
    "tanh",
}  # fmt: skip

_SAME = {"contiguous", "dropout", "identity"}
"""What returns the maps as they are."""

_SCALING = {"add", "mul", "sub", "truediv"}
"""Arithmetic with what does not depend on the inputs."""

_HEAD = {
    "linear",
    "log_softmax",
    "normalization",
    "batchnorm",
    "softmax",
    *_ENDS_MAPS,
    *_ACTIVATIONS,
    *_SAME,
    *_SCALING,
}
"""What a head consists of: rooms of ``torch.nn.modules``, functions and methods."""


def last_maps(network: Network) -> str | None:
    """Name of the module that returns the maps in front of the head.

    The network is followed backwards from its output, for as long as there is one way only and it leads through what a
    head consists of. The maps are in front of the first pool or flattening on this way, or of a convolution that holds
    the class scores. Of several modules that return the very maps found there, the outermost is named: in a network
    with branches that is the block.

    Returns:
        The name; None where the way leads elsewhere, or the maps belong to no module.
    """
    modules = dict(network.model.named_modules())
    scores = class_scores_of(network.graph, network.model)
    output = next(node for node in network.graph.nodes if node.op == "output")
    node, maps = output.args[0], None
    while isinstance(node, fx.Node):
        kind = "class scores" if node.op == "call_module" and node.target in scores else _kind(node, modules)
        before = _before(node, kind) if kind in _HEAD else None
        if before is None:
            break
        node, maps = before, before if kind in _ENDS_MAPS else maps
    while maps is not None:
        named, kind = modules_at(network, maps), _kind(maps, modules)
        if named and kind not in _SAME:
            return named[0]
        maps = _before(maps, kind) if kind in _SAME | _ACTIVATIONS else None
    return None


def modules_at(network: Network, node: fx.Node) -> list[str]:
    """Modules, called once, that return this very value, the outermost first."""
    found = [name for name, calls in network.calls.items() if len(calls) == 1 and calls[0].returned is node and name]
    return sorted(found, key=lambda name: (name.count("."), len(name)))


def _before(node: fx.Node, kind: str) -> fx.Node | None:
    """What an operation works on; None for arithmetic with several things."""
    given = [value for value in node.all_input_nodes if value.op != "get_attr"]
    return given[0] if given and (len(given) == 1 or kind not in _SCALING) else None


def _kind(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    if node.op != "call_module":
        return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    module = modules[str(node.target)]
    if isinstance(module, nn.Identity):
        return "identity"
    if isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
        return "normalization"
    if isinstance(module, (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d)):
        return "adaptive_avg_pool2d"
    return type(module).__module__.removeprefix("torch.nn.modules.")
