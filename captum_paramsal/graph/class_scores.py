"""Convolutions whose output channels are the class scores themselves.

SqueezeNet and Network-in-Network end in one: its channels are averaged over all places and returned. Ranked among the
filters, the wrong class and the true class would always be among the guiltiest, which explains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import fx, nn

from captum_paramsal.graph.capture import capture

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMALIZATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)  # noqa: SLF001 -- base of all BatchNorms
_KEEPS_CHANNELS_APART = {
    "activation",
    "batchnorm",
    "dropout",
    "flatten",
    "instancenorm",
    "pooling",
}
"""Modules of ``torch.nn.modules`` whose layers never mix channels."""

_REDUCTIONS = {"amax", "log_softmax", "logsumexp", "mean", "softmax", "sum"}
"""Functions that keep channels apart where they go over places alone."""

_PLACES = {2, 3, 4, -1, -2}
"""Dimensions that hold places, whatever the number of dimensions."""

_FUNCTIONS = {
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d", "add",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "clone", "contiguous", "div", "dropout", "flatten", "float",
    "hardtanh", "leaky_relu", "max_pool2d", "mul", "relu", "relu_", "reshape", "sigmoid",
    "squeeze", "tanh", "truediv", "view",
}  # fmt: skip


def class_score_layers(model: nn.Module) -> frozenset[str]:
    """Names of the convolutions whose channels are the class scores, directly or through a pool over all places.

    The network is traced backwards from its output through operations that keep channels apart. A model that
    ``torch.fx`` cannot trace is taken to end in its last registered convolution if it has no other kind of layer.

    Args:
        model: A classifier in evaluation mode.

    >>> nin = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> sorted(class_score_layers(nin))
    ['2']
    """
    graph = capture(model)
    return _last_registered(model) if graph is None else class_scores_of(graph, model)


def class_scores_of(graph: fx.Graph, model: nn.Module) -> frozenset[str]:
    """The same for a model whose graph is known."""
    output = next(node for node in graph.nodes if node.op == "output")
    return frozenset(_convolutions_before(output, dict(model.named_modules())))


def _convolutions_before(output: fx.Node, modules: dict[str, nn.Module]) -> Iterator[str]:
    waiting, seen = [*output.all_input_nodes], set[fx.Node]()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, _CONVOLUTIONS):
            yield str(node.target)
        elif _keeps_channels_apart(node, module):
            waiting.extend(node.all_input_nodes)


def _keeps_channels_apart(node: fx.Node, module: nn.Module | None) -> bool:
    if module is not None:
        room = type(module).__module__.removeprefix("torch.nn.modules.")
        return (room in _KEEPS_CHANNELS_APART or isinstance(module, nn.Identity)) and not isinstance(
            module, nn.MultiheadAttention
        )
    if node.op not in ("call_function", "call_method"):
        return False
    name = _name(node.target)
    return name in _FUNCTIONS or (name in _REDUCTIONS and _goes_over_places(node))


def _goes_over_places(node: fx.Node) -> bool:
    """Whether a reduction's dimensions are given and hold places; the softmax of flat scores is one over classes."""
    given = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    dimensions = set(given) if isinstance(given, (tuple, list)) else {given}
    return dimensions <= _PLACES or (_name(node.target).endswith("softmax") and dimensions == {1})


def _name(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", "")


def _last_registered(model: nn.Module) -> frozenset[str]:
    """The last convolution of a model that has no other layer to make class scores with."""
    weighted = [
        (name, module)
        for name, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False)) and not isinstance(module, _NORMALIZATIONS)
    ]
    if not weighted or not all(isinstance(module, _CONVOLUTIONS) for _, module in weighted):
        return frozenset()
    return frozenset([weighted[-1][0]])
