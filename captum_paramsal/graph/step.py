"""One operation of a forward pass, as a rule sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from captum_paramsal.errors import TraceError
from captum_paramsal.graph.network import Run
from captum_paramsal.graph.rule import require_rule
from captum_paramsal.graph.settings import TraceSettings
from captum_paramsal.graph.sites import Sites


@dataclass(frozen=True)
class Step:
    """One operation of a forward pass.

    Attributes:
        run: The forward pass.
        node: The operation.
        following: What is followed.
    """

    run: Run
    node: fx.Node
    following: TraceSettings

    @property
    def module(self) -> nn.Module:
        """The layer, where the operation is one."""
        return self.run.modules[str(self.node.target)]

    @property
    def source(self) -> fx.Node:
        """The operation whose result is the first input."""
        return self.node.all_input_nodes[0]

    @property
    def shape(self) -> torch.Size:
        """Shape of the result for one image."""
        return self.run.shapes[self.node][1:]

    def shape_of(self, node: fx.Node) -> torch.Size:
        """Shape of another operation's result for one image."""
        return self.run.shapes[node][1:]

    def value(self, argument: Any) -> Any:
        """What an argument was, with the results of operations in their places."""
        return fx.node.map_arg(argument, self._value_of)

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by place or name, as it was captured."""
        return self.node.args[place] if len(self.node.args) > place else self.node.kwargs.get(name, default)

    def support_of(self, found: Sequence[tuple[fx.Node, Sites]], count: int, *, limit: bool = False) -> Tensor:
        """Largest single contribution to neurons of other operations; 0 for those of the network's input.

        Args:
            found: Neurons that together are ``count``, in order.
            count: How many.
            limit: Ask only for what it cannot exceed.
        """
        supports = torch.cat([self._at(node)._support(sites, limit=limit) for node, sites in found])  # noqa: SLF001
        if len(supports) != count:
            message = f"Expected a support for each of {count} neurons of '{self.node}', got {len(supports)}."
            raise TraceError(message)
        return supports

    def _support(self, sites: Sites, *, limit: bool) -> Tensor:
        if self.node.op in ("placeholder", "get_attr"):
            return torch.zeros_like(sites.gain)
        rule = require_rule(self.node, self.run.modules)
        return rule.limit(self, sites) if limit else rule.support(self, sites)

    def _at(self, node: fx.Node) -> Step:
        return Step(self.run, node, self.following)

    def _value_of(self, node: fx.Node) -> Any:
        return self.run.values[node]
