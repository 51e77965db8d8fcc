"""A network as a graph of operations that is run once, keeping what tracing back needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from captum_paramsal.errors import TraceError
from captum_paramsal.graph.operations import Kind, kind_of, writes_in_place
from captum_paramsal.graph.registry import rule_of_type, trace_rule_of
from captum_paramsal.graph.step import Run


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module, as the graph has it.

    Attributes:
        given: Its first tensor argument; None without one.
        returned: What it returned; None if that is not one tensor.
    """

    given: fx.Node | None
    returned: fx.Node | None


@dataclass(frozen=True)
class Network:
    """A model's operations, captured once with ``torch.fx``; weights are looked up in the model at every run.

    Attributes:
        model: In evaluation mode while it is captured and run.
        graph: Its operations.
        constants: Tensors that capturing made of the model's own code.
        kept: Operations whose results tracing back reads.
        calls: Calls of every module, also of those that hold others, by name.
    """

    model: nn.Module
    graph: fx.Graph
    constants: Mapping[str, Any]
    kept: frozenset[fx.Node]
    calls: Mapping[str, Sequence[ModuleCall]]

    @classmethod
    def of(cls, model: nn.Module) -> Network:
        """Capture a model.

        Raises:
            TraceError: ``torch.fx`` cannot capture it.
        """
        tracer = _Tracer()
        try:
            with attributes_kept(model) as added:
                graph = tracer.trace(model)
        except Exception as error:
            message = (
                f"Expected a model that torch.fx can capture, got {type(model).__name__}: {type(error).__name__}: "
                f"{error} A forward pass must not depend on the values that run through it."
            )
            raise TraceError(message) from error
        modules = dict(model.named_modules())
        kept: set[fx.Node] = set()
        for node in graph.nodes:
            rule = trace_rule_of(node, modules)
            if rule is not None:
                kept.update(rule.reads(node))
        return cls(model, graph, added, frozenset(kept), dict(tracer.calls))

    def run(self, *inputs: Any) -> Run:
        """Run the model, as ``model(*inputs)`` does."""
        interpreter = Interpreter(self, self.kept)
        with torch.no_grad():
            output = interpreter.run(*inputs)
        return Run(self.graph, dict(self.model.named_modules()), interpreter.values, interpreter.shapes, output)


class _Tracer(fx.Tracer):
    """Notes the calls of all modules; those with a rule of their own, such as a user's, are one operation."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, list[ModuleCall]] = defaultdict(list)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        given = next((value.node for value in (*args, *kwargs.values()) if isinstance(value, fx.Proxy)), None)
        result = super().call_module(m, forward, args, kwargs)
        returned = result.node if isinstance(result, fx.Proxy) else None
        self.calls[self.path_of_module(m)].append(ModuleCall(given, returned))
        return result

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return super().is_leaf_module(m, module_qualified_name) or rule_of_type(type(m)) is not None


class Interpreter(fx.Interpreter):
    """Runs a network and keeps what is read later, also where an operation writes over its input.

    Args:
        network: What is run.
        kept: Operations whose results are kept in ``values``, as they are before anything writes over them.
        left_out: Operations that are not run. What each of them would read of the others is kept in ``read``.
    """

    def __init__(
        self, network: Network, kept: Container[fx.Node] = frozenset(), left_out: Container[fx.Node] = frozenset()
    ) -> None:
        super().__init__(network.model, graph=network.graph)
        self._constants = network.constants
        self._kept = kept
        self._left_out = left_out
        self._storages: dict[int, list[tuple[dict[Any, Any], Any]]] = defaultdict(list)
        self.values: dict[fx.Node, Any] = {}
        self._given: dict[int, list[fx.Node]] = defaultdict(list)
        self.read: dict[tuple[fx.Node, fx.Node], Any] = {}
        self.shapes: dict[fx.Node, torch.Size] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run an operation, and keep its result if it is one of those."""
        if n in self._left_out:
            for value in n.all_input_nodes:
                if value not in self._left_out:
                    self._keep(self.read, (n, value), self.env[value])
            return None
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n] = result.shape
            if n.op == "placeholder":
                self._given[result.untyped_storage().data_ptr()].append(n)
        if n in self._kept or not isinstance(result, Tensor):
            self._keep(self.values, n, result)
        return result

    def _keep(self, where: dict[Any, Any], key: Any, value: Any) -> None:
        where[key] = value
        if isinstance(value, Tensor):
            self._storages[value.untyped_storage().data_ptr()].append((where, key))

    def fetch_attr(self, target: str) -> Any:
        """A tensor of the model, or one that capturing made of its code."""
        return self._constants[target] if target in self._constants else super().fetch_attr(target)

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What an operation is given; where it writes over that, what is kept is copied before."""
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        if not args or not isinstance(args[0], Tensor) or not writes_in_place(n, self.module):
            return args, kwargs
        storage = args[0].untyped_storage().data_ptr()
        sharing = self._storages.pop(storage, [])
        given = self._given.pop(storage, [])
        if given:
            # The caller's own tensor stays as it is; what reads it later sees what was written.
            apart = args[0].clone()
            self.env.update({node: apart for node in given if self.env.get(node) is args[0]})
            return (apart, *args[1:]), kwargs
        copies: dict[int, Tensor] = {}
        for where, key in sharing:
            kept = where[key]
            where[key] = copies.setdefault(id(kept), kept.clone())
        return args, kwargs


def capture(model: nn.Module) -> fx.Graph | None:
    """The operations of a model's forward pass; None where ``torch.fx`` cannot trace it.

    Args:
        model: The model, in the mode whose forward pass is wanted; left as it was.
    """
    try:
        with attributes_kept(model):
            return fx.Tracer().trace(model)
    except Exception:  # noqa: BLE001 -- tracing runs the model's own code on stand-ins, which may raise anything
        return None


@contextmanager
def attributes_kept(model: nn.Module) -> Iterator[dict[str, Any]]:
    """Undo what tracing writes on a model: constants of its own, and stand-ins that the forward pass stores.

    Yields:
        What was added to the model itself, filled when the context ends.
    """
    before = [(vars(module), dict(vars(module))) for module in model.modules()]
    added: dict[str, Any] = {}
    try:
        yield added
    finally:
        root, content = before[0]
        added.update({name: value for name, value in root.items() if name not in content})
        for attributes, content in before:
            attributes.clear()
            attributes.update(content)


def batch_norms_after(network: Network) -> dict[str, str]:
    """The batch norm that reads what a layer returns, and nothing else of it, by the layer's name.

    A layer whose output is read by something else as well, or that is called more than once, is left out.
    """
    modules = dict(network.model.named_modules())
    calls = [node for node in network.graph.nodes if node.op == "call_module"]
    names = [str(node.target) for node in calls]
    norms = {}
    for node in calls:
        readers: list[fx.Node] = list(node.users)
        if names.count(str(node.target)) != 1 or len(readers) != 1 or readers[0].op != "call_module":
            continue
        name = str(readers[0].target)
        if kind_of(readers[0], modules) is Kind.BATCH_NORMALIZATION and names.count(name) == 1:
            norms[str(node.target)] = name
    return norms
