"""Which batch norm belongs to a convolution."""

from __future__ import annotations

from torch import fx, nn

from captum_paramsal.graph.network import Network


def batch_norms_behind(network: Network) -> dict[str, str]:
    """The batch norm that reads what a layer returns, and nothing else of it, by the layer's name.

    A layer whose output is read by something else as well, or that is called more than once, is left out.
    """
    modules = dict(network.model.named_modules())
    calls = [node for node in network.graph.nodes if node.op == "call_module"]
    names = [str(node.target) for node in calls]
    found = {}
    for node in calls:
        readers: list[fx.Node] = list(node.users)
        if names.count(str(node.target)) != 1 or len(readers) != 1 or readers[0].op != "call_module":
            continue
        name = str(readers[0].target)
        if isinstance(modules[name], nn.modules.batchnorm._BatchNorm) and names.count(name) == 1:  # noqa: SLF001
            found[str(node.target)] = name
    return found
