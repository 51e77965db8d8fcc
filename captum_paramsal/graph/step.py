"""A forward pass, and one operation of it as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from typing_extensions import deprecated

from captum_paramsal.errors import TraceError
from captum_paramsal.graph.settings import TraceSettings
from captum_paramsal.graph.sites import Sites

_NEAR = 8
"""Operations that a walk is near."""


@dataclass(frozen=True)
class Run:
    """One forward pass.

    Attributes:
        model: What ran.
        graph: Its operations, as they were called.
        values: Results that tracing back reads, and the tensors that the pass did not make.
        shapes: Shape of every tensor.
        output: The class scores.
        of_inputs: Operations that depend on the model's inputs.
        unseen: Tensors that came about in a way that cannot be followed.
        found: What a rule found out of an operation and is asked for again, the latest few.
    """

    model: nn.Module
    graph: fx.Graph
    values: Mapping[fx.Node, Any]
    shapes: Mapping[fx.Node, torch.Size]
    output: Any
    of_inputs: Container[fx.Node]
    unseen: Container[fx.Node]
    found: dict[fx.Node, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the output is."""
        device: torch.device = self.output.device
        return device

    def once(self, node: fx.Node, find: Callable[[], Any]) -> Any:
        """What is found out of an operation, kept while the walk is near it, where it is asked for again."""
        if node not in self.found:
            while len(self.found) >= _NEAR:
                del self.found[next(iter(self.found))]
            self.found[node] = find()
        return self.found[node]

    def tensor(self, node: fx.Node) -> Tensor:
        """A value that was kept; half precision as single, in which neurons are compared."""
        value: Tensor = self.values[node]
        value = value.detach() if value.requires_grad else value
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


@dataclass(frozen=True)
class Step:
    """One operation of a forward pass.

    Attributes:
        run: The forward pass.
        node: The operation.
        settings: What a trace follows.
        supports: Asks the rule of an operation for the support of its neurons, or for its limit.
    """

    run: Run
    node: fx.Node
    settings: TraceSettings
    supports: Supports

    @property
    @deprecated("`Step.following` is now `Step.settings`; the old name goes with version 0.3.")
    def following(self) -> TraceSettings:
        """What a trace follows."""
        return self.settings

    @property
    def module(self) -> nn.Module:
        """The layer, where the operation is one."""
        return self.run.model.get_submodule(str(self.node.target))

    @property
    def source(self) -> fx.Node:
        """The operation whose result is the first input."""
        return self.node.all_input_nodes[0]

    @property
    def maps(self) -> Tensor:
        """The first input, if it was kept."""
        return self.run.tensor(self.source)

    def is_computed(self, argument: Any) -> bool:
        """Whether an argument depends on the model's inputs: no number, no parameter."""
        return isinstance(argument, fx.Node) and argument in self.run.of_inputs

    @property
    def shape(self) -> torch.Size:
        """Shape of the result."""
        return self.run.shapes[self.node]

    def shape_of(self, node: fx.Node) -> torch.Size:
        """Shape of another operation's result."""
        return self.run.shapes[node]

    def value(self, argument: Any) -> Any:
        """What an argument was, with the results of operations in their places."""
        return fx.node.map_arg(argument, self._value_of)

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by place or name, as it was noted."""
        return argument_of(self.node, place, name, default)

    def support_of(self, neurons: Sequence[tuple[fx.Node, Sites]], count: int, *, limit: bool = False) -> Tensor:
        """Largest single contribution to neurons of other operations; 0 for those of the network's input.

        Args:
            neurons: Neurons that together are ``count``, in order.
            count: How many.
            limit: Ask only for what it cannot exceed.

        Raises:
            TraceError: An operation has no rule, or its rule gave other than one support for each neuron.
        """
        supports = [self.supports(self.at(node), sites, limit) for node, sites in neurons]
        joined = supports[0] if len(supports) == 1 else torch.cat(supports)
        if len(joined) != count:
            message = f"Expected a support for each of {count} neurons of '{self.node}', got {len(joined)}."
            raise TraceError(message)
        return joined

    def at(self, node: fx.Node) -> Step:
        """Another operation of the same pass."""
        return Step(self.run, node, self.settings, self.supports)

    def _value_of(self, node: fx.Node) -> Tensor:
        return self.run.tensor(node)


def argument_of(node: fx.Node, place: int, name: str, default: Any = None) -> Any:
    """An argument of an operation by place or name, as it was noted."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


Supports: TypeAlias = Callable[[Step, Sites, bool], Tensor]
"""From neurons of an operation's result to their supports, or to what these cannot exceed."""
