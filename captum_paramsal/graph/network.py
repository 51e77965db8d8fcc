"""A network as the graph of the operations that ran, to be read and to be run again in part."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from captum_paramsal.graph.operations import Kind, kind_of
from captum_paramsal.graph.recording import Keeps, ModuleCall, Recording, record
from captum_paramsal.graph.registry import trace_rule_of
from captum_paramsal.graph.sizes import PerExample, depends_on_size
from captum_paramsal.graph.step import Run


@dataclass(frozen=True)
class Network:
    """The operations of a model's forward pass, as they were called on some inputs.

    Attributes:
        model: The model.
        graph: Its operations.
        constants: Tensors that the pass did not make: parameters, buffers and others.
        shapes: Shape of every result.
        calls: Calls of every module, also of those that hold others, by name.
        unseen: Tensors that came about in a way that cannot be followed.
        decisions: Values that the model's own code has looked at, such as for an ``if``.
        under_autocast: Whether the model changes the types of its operations on its own.
    """

    model: nn.Module
    graph: fx.Graph
    constants: Mapping[str, Tensor]
    shapes: Mapping[fx.Node, torch.Size]
    calls: Mapping[str, Sequence[ModuleCall]]
    unseen: frozenset[fx.Node]
    decisions: frozenset[fx.Node]
    under_autocast: bool

    @classmethod
    def of(cls, model: nn.Module, *inputs: Any, **named: Any) -> Network:
        """The network that runs on some inputs.

        Args:
            model: The model, in evaluation mode.
            inputs: Its arguments.
            named: Its named arguments.
        """
        return cls.recorded(record(model, inputs, named))

    @classmethod
    def recorded(cls, recording: Recording) -> Network:
        """The network of a run that was recorded."""
        return cls(
            recording.model,
            recording.graph,
            recording.constants,
            recording.shapes,
            dict(recording.calls),
            frozenset(recording.unseen),
            frozenset(recording.decisions),
            recording.under_autocast,
        )

    @cached_property
    def outputs(self) -> tuple[fx.Node, ...]:
        """Where what the model returned comes from; for one tensor of class scores, one."""
        return tuple(next(node for node in self.graph.nodes if node.op == "output").all_input_nodes)

    @cached_property
    def of_inputs(self) -> frozenset[fx.Node]:
        """Everything that depends on the inputs, or may do so unseen."""
        return self.after([node for node in self.graph.nodes if node.op == "placeholder" or node in self.unseen])

    @cached_property
    def of_examples(self) -> frozenset[fx.Node]:
        """Everything that depends on the inputs or on their number."""
        return self.after([node for node in self.graph.nodes if node in self.of_inputs or depends_on_size(node)])

    def after(self, starts: Collection[fx.Node]) -> frozenset[fx.Node]:
        """Some operations, and all that depend on them."""
        depending = set(starts)
        for node in self.graph.nodes:
            if any(source in depending for source in node.all_input_nodes):
                depending.add(node)
        return frozenset(depending)


class Interpreter(fx.Interpreter):
    """Runs operations of a network again.

    Args:
        network: The network.
        examples: How many examples there are now.
    """

    def __init__(self, network: Network, examples: int) -> None:
        super().__init__(network.model, graph=network.graph)
        self._constants = network.constants
        self.examples = examples

    def fetch_attr(self, target: str) -> Any:
        """A tensor that the network was run with, or a module that is one operation."""
        return self._constants[target] if target in self._constants else super().fetch_attr(target)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a function; what is written into for one that returns nothing."""
        result = super().call_function(target, args, kwargs)
        return args[0] if target is operator.setitem else result

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> Any:
        """What an operation is given, with sizes for the present number of examples."""
        return PerExample.resolved(super().fetch_args_kwargs_from_env(n), self.examples)


class TraceReads:
    """Keeps what the rules for tracing back read."""

    def reads(self, node: fx.Node, recording: Recording) -> Collection[fx.Node]:
        """What the operation's rule reads."""
        rule = trace_rule_of(node, recording.model)
        return () if rule is None else tuple(rule.reads(node))


def traced_run(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
) -> Run:
    """Run a model once, keeping what tracing back needs.

    Args:
        model: The model, in evaluation mode.
        args: Its arguments.
        kwargs: Its named arguments.
    """
    keeps: Keeps = TraceReads()
    recording = record(model, args, kwargs, keeps)
    network = Network.recorded(recording)
    return Run(
        model=model,
        graph=recording.graph,
        values=recording.values,
        shapes=recording.shapes,
        output=recording.output,
        of_inputs=network.of_inputs,
        unseen=network.unseen,
    )


_WEIGHTED = frozenset({Kind.CONVOLUTION, Kind.LINEAR, Kind.BATCH_NORMALIZATION})


def is_layer(node: fx.Node, model: nn.Module) -> bool:
    """Whether an operation is a layer with rows of weights: a convolution, a linear layer or a batch norm."""
    return kind_of(node, model) in _WEIGHTED


def batch_norms_after(network: Network) -> dict[str, str]:
    """The batch norm that reads what a layer returns, and nothing else of it, by the layer's name.

    A layer whose output is read by something else as well, or that is called more than once, is left out.
    """
    weighted = [node for node in network.graph.nodes if is_layer(node, network.model)]
    names = [node.meta["layer"] for node in weighted]
    norms = {}
    for node in weighted:
        readers: list[fx.Node] = list(node.users)
        if names.count(node.meta["layer"]) != 1 or len(readers) != 1:
            continue
        name = readers[0].meta["layer"]
        if kind_of(readers[0], network.model) is Kind.BATCH_NORMALIZATION and names.count(name) == 1:
            norms[node.meta["layer"]] = name
    return norms
