"""A run of a model, followed: every operation that the forward pass called, on the inputs that it was given.

Nothing is captured on stand-ins. The model runs as always while a mode of PyTorch sees each function that is called, so
what is noted is what ran: its branches, its flags and hooks, its subclasses of layers; and the recorded output is the
model's.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from captum_paramsal.errors import TraceError
from captum_paramsal.graph.exported import as_called
from captum_paramsal.graph.operations import may_write_in_place, name_of
from captum_paramsal.graph.registry import is_known, rule_of_type
from captum_paramsal.graph.written_over import (
    Writes,
    is_same_place,
    layout_of,
    repeats,
    version_of,
    written_through,
)
from captum_paramsal.hooks import module_calls, scores_in, uncompiled
from captum_paramsal.hooks.calls import once_each, sole_tensor, tensors_in, unseen
from captum_paramsal.hooks.opened import opened
from captum_paramsal.hooks.uses import LOOKS

_OPERATORS: Mapping[str, tuple[Callable[..., Any], bool]] = {
    "__getitem__": (operator.getitem, False),
    "__setitem__": (operator.setitem, False),
    "__matmul__": (torch.matmul, False),
    "__rmatmul__": (torch.matmul, True),
    "__rsub__": (operator.sub, True),
    "__rdiv__": (operator.truediv, True),
    "__rtruediv__": (operator.truediv, True),
    "__rpow__": (operator.pow, True),
}
"""Methods of operators that are noted as the operator, and whether their operands are the other way round."""

_OPENED = ("torch.nn.functional", "torch.functional")
"""Modules whose functions are looked into where nothing is known of the function itself."""

_FROM_DATA = frozenset({"tensor", "as_tensor", "asarray", "from_numpy", "frombuffer", "new_tensor", "scalar_tensor"})
"""Functions that make a tensor of what is none, perhaps of values that were looked at before."""

_DEPTH = 3
"""How deep tensors are looked for in containers of a module."""

_OF_MODULES = frozenset(vars(nn.Module()))


class Keeps(Protocol):
    """What is kept of a run: results, as they are when an operation reads them."""

    def reads(self, node: fx.Node, recording: Recording) -> Collection[fx.Node]:
        """Operations whose results are kept for an operation that comes next; its own is kept once it is there."""
        ...


class Nothing:
    """Keeps the structure alone."""

    def reads(self, node: fx.Node, recording: Recording) -> Collection[fx.Node]:
        """Nothing."""
        del node, recording
        return ()


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module.

    Attributes:
        given: Its first tensor argument; None without one.
        returned: The tensor that it returned, by itself or among what is no tensor; None if there are several, or none.
    """

    given: fx.Node | None
    returned: fx.Node | None


@dataclass
class Recording:
    """What a run has shown.

    Attributes:
        model: What ran.
        graph: Its operations: inputs are placeholders, tensors of the model ``get_attr``, everything else functions and
            methods, or a module whose type has a rule of its own. ``meta["layer"]`` names the module that holds the
            weight of an operation, or else the one that called it.
        constants: Tensors that the run did not make, by target.
        calls: Calls of every module, by its name.
        values: What is kept, by operation; what the run did not make always is.
        read: The same by reader and operation, as it was when it was read.
        shapes: Shape of every result.
        unseen: Tensors that came about in a way that cannot be followed.
        decisions: Values that the model's own code has looked at, such as for an ``if``.
        under_autocast: Whether the model changes the types of its operations on its own.
        output: The class scores that the model returned, or whatever else it did.
    """

    model: nn.Module
    graph: fx.Graph = field(default_factory=fx.Graph)
    constants: dict[str, Tensor] = field(default_factory=dict)
    calls: dict[str, list[ModuleCall]] = field(default_factory=lambda: defaultdict(list))
    values: dict[fx.Node, Any] = field(default_factory=dict)
    read: dict[tuple[fx.Node, fx.Node], Any] = field(default_factory=dict)
    shapes: dict[fx.Node, torch.Size] = field(default_factory=dict)
    unseen: set[fx.Node] = field(default_factory=set)
    decisions: set[fx.Node] = field(default_factory=set)
    under_autocast: bool = False
    output: Any = None


def record(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    keeps: Keeps | None = None,
) -> Recording:
    """Run a model and note its operations.

    Args:
        model: In the mode in which it is wanted; left as it is.
        args: Its arguments. The tensors among them are the inputs; the model gets copies, which it may write over.
        kwargs: Its named arguments.
        keeps: What is kept of the results; nothing by default.

    Raises:
        TraceError: A tensor was written over by a function that does not say so.
    """
    recording = _recorded(model, args, kwargs or {}, Nothing() if keeps is None else keeps)
    if recording.unseen:
        # What is the same object in another run was there before: a constant outside of the model.
        again = _recorded(model, args, kwargs or {}, Nothing())
        tensors = {id(again.values[node]) for node in again.unseen}
        recording.unseen = {node for node in recording.unseen if id(recording.values[node]) not in tensors}
    return recording


def _recorded(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    keeps: Keeps,
) -> Recording:
    recorder = _Recorder(model, keeps)
    with torch.no_grad():
        given = recorder.inputs((tuple(args), dict(kwargs)))
        with uncompiled(), module_calls(model, _aside(recorder.entered), _aside(recorder.left)), recorder:
            return recorder.finished(scores_in(model(*given[0], **given[1])))


def _aside(noting: Callable[..., Any]) -> Callable[..., Any]:
    """What takes notes between the model's operations, itself not seen by the mode that notes these."""

    def noted(*args: Any) -> Any:
        with unseen():
            return noting(*args)

    return noted


def _autocast() -> tuple[bool, ...]:
    """Whether autocast is on, for each kind of device."""
    try:
        return tuple(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda"))
    except TypeError:
        # Before torch 2.4 there was a function for each.
        return torch.is_autocast_cpu_enabled(), torch.is_autocast_enabled()


class _Recorder(TorchFunctionMode):
    """Notes every function that is called on tensors."""

    def __init__(self, model: nn.Module, keeps: Keeps) -> None:
        super().__init__()
        self._recording = Recording(model)
        self._keeps = keeps
        self._nodes: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._writes = Writes()
        self._held = _held_tensors(model)
        self._modules: list[str] = []
        self._calls: list[tuple[str, int]] = []
        self._whole: list[fx.Node | None] = []
        self._kept: dict[int, list[tuple[dict[Any, Any], Any]]] = defaultdict(list)
        self._autocast = _autocast()

    def inputs(self, value: Any) -> Any:
        """Arguments of the model, with a placeholder for every tensor."""

        def noted(tensor: Tensor) -> Tensor:
            apart = tensor.detach().clone()
            node = self._created("placeholder", f"input_{len(self._recording.shapes)}", (), {})
            self._name(apart, node)
            return apart

        return _mapped(value, noted)

    def finished(self, output: Any) -> Recording:
        """The recording, with what the model returned."""
        returned = self._recording.graph.output(_mapped(output, self._node_of))
        returned.meta.update(layer="", number=len(self._recording.graph.nodes) - 1)
        self._recording.output = output
        return self._recording

    def entered(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module is called."""
        self._modules.append(name)
        if self._whole and self._whole[-1] is not None:
            self._whole.append(self._whole[-1])
            return
        first = next(iter(tensors_in((args, kwargs))), None)
        calls = self._recording.calls[name]
        self._calls.append((name, len(calls)))
        calls.append(ModuleCall(None if first is None else self._node_of(first), None))
        if rule_of_type(type(module)) is None:
            self._whole.append(None)
            return
        node = self._note("call_module", name, args, kwargs)
        if getattr(module, "inplace", False) and first is not None:
            self._copy_kept(first)
        self._whole.append(node)

    def left(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """A module returned."""
        del module
        node = self._whole.pop()
        if self._whole and self._whole[-1] is not None:
            self._modules.pop()
            return None
        _, place = self._calls.pop()
        calls = self._recording.calls[name]
        given = calls[place].given
        if node is None and isinstance(output, Tensor) and self._node_of(output) is given:
            # What an identity returns is a value of its own, which not everything reads that reads its input.
            node = self._note("call_method", "positive", (output,), {})
        if node is not None:
            output = self._apart(output, (args, kwargs))
            self._returned(node, output)
        tensor = sole_tensor(output)
        returned = None if tensor is None else self._node_of(tensor)
        calls[place] = ModuleCall(given, returned)
        self._modules.pop()
        return output

    def _apart(self, result: Any, given: Any) -> Any:
        """A tensor of its own where an operation returns what it was given, such as dropout in evaluation mode."""
        if isinstance(result, Tensor) and any(result is one for one in tensors_in(given)):
            with unseen():
                return result.view_as(result)
        return result

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._whole and self._whole[-1] is not None:
            return func(*args, **kwargs)
        func, args, kwargs = as_called(func, args, kwargs)
        if _is_opened(func):
            with self:
                return opened(func)(*args, **kwargs)
        op, target, operands = _spelled(func, args)
        if target is operator.setitem and is_same_place(operands[2], lambda: operands[0][operands[1]]):
            return self._ended_assignment(func, args)
        # What is written to memory that was given is the result all the same.
        named = {name: value for name, value in kwargs.items() if name != "out"}
        written = kwargs.get("out", operands[0] if operands else None)
        written = written if isinstance(written, Tensor) else None
        version = None if written is None else version_of(written)
        node = None
        if written is not None and ("out" in kwargs or may_write_in_place(target, operands, kwargs)):
            node = self._note(op, target, operands, named)
            self._copy_kept(written)
        result = func(*args, **kwargs)
        in_place = written is not None and version_of(written) != version
        if not in_place:
            result = self._apart(result, (args, kwargs))
        hides = func.__name__ in _FROM_DATA and bool(self._recording.decisions)
        if node is None and not hides and (in_place or tensors_in(result)):
            node = self._note(op, target, operands, named)
        if node is not None:
            self._noted(node, result, written if in_place else None)
        elif func.__name__ in LOOKS:
            self._recording.decisions.update(map(self._node_of, tensors_in(args)))
        return result

    def _ended_assignment(self, func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """The end of `y[:, :2] += x`: what was added there is written to its own place."""
        node = self._node_of(args[2])
        result = func(*args)
        self._writes.note(args[2], node)
        self._name(args[2], node)
        return result

    def _noted(self, node: fx.Node, result: Any, written: Tensor | None) -> None:
        """An operation has run."""
        if _autocast() != self._autocast:
            self._recording.under_autocast = True
        if written is not None:
            node.meta["in_place"] = True
            if self._kept.get(written.untyped_storage().data_ptr()):
                message = (
                    f"Expected functions whose name says that they write over their input, got {name_of(node.target)}."
                )
                raise TraceError(message)
            self._writes.note(written, node)
            self._name(written, node)
            self._keep_own(node, written)
        if result is not written and tensors_in(result):
            self._returned(node, result)

    def _note(self, op: str, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> fx.Node:
        tensors: dict[fx.Node, Tensor] = {}

        def noted(tensor: Tensor) -> fx.Node:
            source = self._node_of(tensor)
            tensors[source] = tensor
            return source

        mapped = _mapped((tuple(args), dict(kwargs)), noted)
        node = self._created(op, target, *mapped)
        node.meta["layer"] = self._layer_of(node)
        for source in self._keeps.reads(node, self._recording):
            if source in tensors:
                self._keep(self._recording.read, (node, source), tensors[source])
                if source not in self._recording.values:
                    self._keep(self._recording.values, source, tensors[source])
        return node

    def _created(self, op: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Node:
        node = self._recording.graph.create_node(op, target, args, kwargs)
        node.meta.update(layer="", number=len(self._recording.graph.nodes) - 1)
        return node

    def _layer_of(self, node: fx.Node) -> str:
        weights = [source for source in node.all_input_nodes[1:2] if source.op == "get_attr"]
        if weights and weights[0] not in self._recording.unseen:
            return str(weights[0].target).rpartition(".")[0]
        return self._modules[-1] if self._modules else ""

    def _returned(self, node: fx.Node, result: Any) -> None:
        if isinstance(result, Tensor):
            self._name(result, node)
            self._keep_own(node, result)
            return
        node.meta["several"] = True
        for key, value in result.items() if isinstance(result, dict) else enumerate(result):
            if tensors_in(value):
                part = self._created("call_function", operator.getitem, (node, key), {})
                part.meta["layer"] = node.meta["layer"]
                self._returned(part, value)

    def _name(self, tensor: Tensor, node: fx.Node) -> None:
        self._writes.made(tensor)
        self._nodes[tensor] = node, version_of(tensor)
        self._shape(node, tensor)

    def _shape(self, node: fx.Node, tensor: Tensor) -> None:
        self._recording.shapes[node] = tensor.shape
        node.meta["floating"] = tensor.is_floating_point()

    def _node_of(self, tensor: Tensor) -> fx.Node:
        node, version = self._nodes.get(tensor, (None, 0))
        # Parameters and buffers are taken as they are.
        if node is not None and node.op != "get_attr" and version_of(tensor) != version:
            node = self._rewritten(tensor, node, version)
        if node is None:
            recording, name = self._recording, self._held.get(id(tensor))
            target = name or f"constant_{len(recording.constants)}"
            node = self._created("get_attr", target, (), {})
            self._name(tensor, node)
            recording.values[node] = recording.constants[target] = tensor
            if name is None:
                recording.unseen.add(node)
        kept: fx.Node = node
        return kept

    def _rewritten(self, tensor: Tensor, node: fx.Node, version: int) -> fx.Node | None:
        """A tensor's value after others that share its memory were written over; None if it is not known by what."""
        if repeats(tensor) or not self._writes.explain(tensor):
            return None
        writes = [write for write in self._writes.since(tensor, version) if write.node is not node]
        layout = layout_of(tensor)
        for write in writes:
            value = node
            node = self._created("call_function", written_through, (value, write.node, layout, write.layout), {})
            node.meta["layer"] = value.meta["layer"]
            self._shape(node, tensor)
            if value in self._keeps.reads(node, self._recording):
                self._keep(self._recording.read, (node, value), tensor)
        self._name(tensor, node)
        return node

    def _keep_own(self, node: fx.Node, result: Tensor) -> None:
        if node in self._keeps.reads(node, self._recording):
            self._keep(self._recording.values, node, result)

    def _keep(self, where: dict[Any, Any], key: Any, value: Tensor) -> None:
        where[key] = value
        self._kept[value.untyped_storage().data_ptr()].append((where, key))

    def _copy_kept(self, written: Tensor) -> None:
        """Copy what is kept of a tensor that is to be written over."""
        copy = once_each(torch.clone)
        for where, key in self._kept.pop(written.untyped_storage().data_ptr(), []):
            where[key] = copy(where[key])


def _spelled(func: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, Any, tuple[Any, ...]]:
    """How an operation is noted: as a method by its name, or as a function, and with which operands."""
    name = func.__name__
    if name == "__get__":
        return "call_function", getattr, (args[0], func.__self__.__name__)  # type: ignore[attr-defined]
    if name in _OPERATORS:
        target, turned = _OPERATORS[name]
        return "call_function", target, tuple(reversed(args)) if turned else args
    # `x ** 2` calls a method inside of a function that has its name.
    method = getattr(func, "__wrapped__", func) if hasattr(Tensor, name) else func
    if isinstance(method, (MethodDescriptorType, WrapperDescriptorType)) or vars(Tensor).get(name) is func:
        return "call_method", name, args
    return "call_function", func, args


def _is_opened(func: Callable[..., Any]) -> bool:
    """Whether a function is made of others that are noted in its place."""
    return isinstance(func, FunctionType) and func.__module__ in _OPENED and not is_known(func)


def _held_tensors(model: nn.Module) -> dict[int, str]:
    """Names of the tensors that the model holds, parameters and others, by identity."""
    names: dict[int, str] = {}

    def note(name: str, value: Any, depth: int = 0) -> None:
        if isinstance(value, Tensor):
            names.setdefault(id(value), name)
        elif isinstance(value, (list, tuple, dict)) and depth < _DEPTH:
            for key, one in value.items() if isinstance(value, dict) else enumerate(value):
                note(f"{name}.{key}", one, depth + 1)

    for prefix, module in model.named_modules():
        start = f"{prefix}." if prefix else ""
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            note(start + name, tensor)
        for name, value in vars(module).items():
            if name not in _OF_MODULES:
                note(start + name, value)
    return names


def _mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same with every tensor changed, in plain containers."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, torch.Size)):
        return tuple(_mapped(one, change) for one in value)
    if isinstance(value, list):
        return [_mapped(one, change) for one in value]
    if isinstance(value, dict):
        return {key: _mapped(one, change) for key, one in value.items()}
    if isinstance(value, slice):
        return slice(*(_mapped(one, change) for one in (value.start, value.stop, value.step)))
    return value
