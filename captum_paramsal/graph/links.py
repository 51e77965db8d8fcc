"""Which neuron of a trace was kept for which: the chains that it is made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx

from captum_paramsal.errors import TraceError
from captum_paramsal.graph.sites import Sites


@dataclass(frozen=True)
class _Link:
    """Neurons of an operation that were kept for neurons of a later one: rows of both, ``(K,)`` each."""

    later: fx.Node
    origin: Tensor
    row: Tensor


@dataclass
class Links:
    """What a walk back kept for what, operation by operation.

    A neuron *keeps* those that the rule of its operation hands on for it. A chain goes from a starting neuron along
    such links, as far as they go. Where several neurons keep the same one, it has a link to each of them.

    Attributes:
        layers: The operation of each layer of the trace, by the layer's name.
    """

    layers: dict[str, fx.Node] = field(default_factory=dict)
    _sites: dict[fx.Node, Sites] = field(default_factory=dict)
    _links: dict[fx.Node, list[_Link]] = field(default_factory=lambda: defaultdict(list))
    _waiting: dict[fx.Node, list[tuple[fx.Node, Tensor, Sites]]] = field(default_factory=lambda: defaultdict(list))

    def keep(self, node: fx.Node, source: fx.Node, neurons: Sites) -> None:
        """Note the neurons of a source that an operation's neurons keep.

        Raises:
            TraceError: They do not say for which they are kept.
        """
        if neurons.origin is None:
            message = (
                f"Expected a rule that says for which neuron each one is kept, as `sites.at(...)`, `sites[rows]` and "
                f"`select` do, got neurons without an origin from that of '{node}'. Give the `Sites` that it makes "
                "itself the `origin` of those that they come from."
            )
            raise TraceError(message)
        self._waiting[source].append((node, neurons.origin, neurons))

    def arrive(self, node: fx.Node, sites: Sites) -> Sites:
        """The neurons of an operation once all have arrived, numbered for its rule."""
        self._sites[node] = sites
        for later, origin, neurons in self._waiting.pop(node, []):
            self._links[node].append(_Link(later, origin, _rows_in(sites, neurons)))
        return sites.numbered()

    def through(self, chosen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The neurons on chains that pass through a chosen one.

        Args:
            chosen: Which neurons of some layers are meant, ``(M,)`` bool each, by the layer's name.

        Returns:
            Which neurons of each layer lie on such a chain, ``(M,)`` bool, by the layer's name.
        """
        above, below = self._none(), self._none()
        for name, rows in chosen.items():
            for marks in (above, below):
                marks[self.layers[name]] |= rows
        # The walk went from the scores to the image: what comes later in the network was noted first.
        for node in reversed(self._sites):
            for link in self._links.get(node, ()):
                above[link.later][link.origin[above[node][link.row]]] = True
        for node in self._sites:
            for link in self._links.get(node, ()):
                below[node][link.row[below[link.later][link.origin]]] = True
        return {name: above[node] | below[node] for name, node in self.layers.items()}

    def _none(self) -> dict[fx.Node, Tensor]:
        return {node: torch.zeros_like(sites.image, dtype=torch.bool) for node, sites in self._sites.items()}


def _rows_in(sites: Sites, neurons: Sites) -> Tensor:
    """Row of each neuron among some that hold all of them."""
    if neurons is sites:
        return torch.arange(len(sites), device=sites.image.device)
    count = max(_end(part.index) for part in (sites, neurons))
    keys, sought = (part.image * count + part.index for part in (sites, neurons))
    # Those that were joined are sorted by image and neuron.
    return torch.searchsorted(keys, sought)


def _end(index: Tensor) -> int:
    return int(index.max()) + 1 if len(index) else 1
