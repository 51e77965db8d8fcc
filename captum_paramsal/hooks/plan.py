"""Where the gradients of each layer's weight can be taken, found out by running the model on one and two examples.

Most layers are called and work on the examples one by one: a hook on the layer sees all it needs. Some weights are used
by a parent (attention's output projection, windowed attention), by two kinds of layer, or on examples folded together
or in another order; their gradients are taken on the ``torch.func`` path, from the nearest module around all uses that
keeps the examples apart. Weights that nothing uses, like auxiliary heads in evaluation mode, have gradient zero.

A layer keeps the examples apart if its inputs and outputs have one row per example in both runs, and the row of the
first example is the same whether or not a second one stands beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks.calls import tensors_in
from captum_paramsal.hooks.rules import FilterRule, rule_of

__all__ = ["FilterLayer", "Plan", "plan_recording"]

VALUES = 256
"""Most values of a row that two runs are compared by."""

ROUNDING, DOUBLE_ROUNDING = 0.02, 1e-9
"""Differences, relative to a row's largest value, that may be rounding; half precision and TF32 need the first."""

_SELECTIONS = {"argwhere", "masked_select", "nonzero", "unique"}
"""Functions whose result has a size that depends on values."""


@dataclass(frozen=True)
class FilterLayer:
    """A layer whose filters are scored.

    Attributes:
        name: Its name in ``model.named_modules()``.
        module: The layer.
        explicit: Whether the caller asked for this very layer, so that it must be reached.
    """

    name: str
    module: nn.Module
    explicit: bool = False

    @property
    def rule(self) -> FilterRule:
        """What its filters are."""
        return rule_of(self.module)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The parameters that hold its filters."""
        return self.rule.weights(self.module)


@dataclass(frozen=True)
class Plan:
    """How each layer is scored.

    Attributes:
        hooked: Modules whose own calls give the gradients of a layer, by that layer's name; a weight that several
            layers share has several.
        through: Module whose calls give them on the ``torch.func`` path, by the layer's name.
        unused: Layers whose weight takes no part in the forward pass.
        batched_arguments: For modules of ``through``, which arguments hold one row per example.
        largest_output: Bytes of the largest tensor that any module returns for one example.
        examples: Examples that it was found out with.
        mixes_examples: Whether an example's scores depend on the example beside it, or its way through the model on
            its values: such a model is run on one example at a time.
    """

    hooked: Mapping[str, tuple[nn.Module, ...]]
    through: Mapping[str, nn.Module]
    unused: frozenset[str]
    batched_arguments: Mapping[nn.Module, frozenset[int | str]]
    largest_output: int
    examples: int
    mixes_examples: bool


@dataclass(frozen=True)
class _Call:
    """What one call of a module took and gave.

    Attributes:
        arguments: Shapes of its tensor arguments by place and name.
        ends: First tensor it took and first it gave.
        bytes: Size of its largest output.
    """

    arguments: Mapping[int | str, torch.Size]
    ends: tuple[_FirstRows, ...]
    bytes: int

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, count: int) -> _Call:
        named: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
        arguments = {key: value.shape for key, value in named if isinstance(value, Tensor)}
        inputs, outputs = tensors_in((args, kwargs)), tensors_in(output)
        ends = tuple(_FirstRows.of(tensor, count) for tensor in (*inputs[:1], *outputs[:1]))
        return cls(arguments, ends, max((tensor.nbytes for tensor in outputs), default=0))

    def keeps_examples(self, dimension: int) -> bool:
        """Whether both ends have one row per example in a dimension."""
        return len(self.ends) == 2 and all(dimension in end.values for end in self.ends)

    def agrees(self, other: _Call, dimension: int) -> bool:
        """Whether the first example is the same as in another call."""
        return all(a.agrees(b, dimension) for a, b in zip(self.ends, other.ends, strict=True))


@dataclass(frozen=True)
class _FirstRows:
    """Some values of a tensor's first row, for the dimensions that may hold the examples."""

    values: Mapping[int, Tensor]
    tolerance: float

    @classmethod
    def of(cls, tensor: Tensor, count: int) -> _FirstRows:
        rows = {
            dimension: tensor.detach().select(dimension, 0).flatten()
            for dimension in range(min(tensor.ndim, 2))
            if tensor.shape[dimension] == count
        }
        spread = {key: row[:: len(row) // VALUES + 1].double().cpu() for key, row in rows.items()}
        return cls(spread, DOUBLE_ROUNDING if tensor.dtype == torch.float64 else ROUNDING)

    def agrees(self, other: _FirstRows, dimension: int) -> bool:
        ours, theirs = self.values[dimension], other.values[dimension]
        if ours.shape != theirs.shape:
            return False
        largest = ours.abs().nan_to_num().max().item() if len(ours) else 0.0
        return torch.allclose(ours, theirs, rtol=0.0, atol=self.tolerance * largest, equal_nan=True)


@dataclass
class _Uses:
    """What forward passes showed.

    Attributes:
        users: Modules that each weight was used in.
        calls: Calls of each module, by the number of examples run.
        selects: Whether the model picks rows by their values, so that two examples do not show where others go.
    """

    users: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    calls: dict[int, dict[str, list[_Call]]] = field(default_factory=dict)
    selects: bool = False

    @property
    def mixes_examples(self) -> bool:
        """Whether the runs show, or cannot rule out, that an example's scores depend on the example beside it."""
        return self.selects or not self.keeps_examples("", 0)

    def keeps_examples(self, name: str, dimension: int) -> bool:
        """Whether a module was called, each time with the examples apart in this dimension."""
        runs = [self.calls[count][name] for count in sorted(self.calls)]
        return all(
            calls
            and len(calls) == len(runs[0])
            and all(
                call.keeps_examples(dimension) and call.agrees(first, dimension)
                for call, first in zip(calls, runs[0], strict=True)
            )
            for calls in runs
        )

    def batched_arguments(self, name: str) -> frozenset[int | str]:
        """Places and names of a module's arguments that hold one row per example in every call."""
        shapes = [
            (key, shape[:1] == (count,))
            for count, calls in self.calls.items()
            for call in calls[name]
            for key, shape in call.arguments.items()
        ]
        return frozenset(key for key, _ in shapes) - {key for key, batched in shapes if not batched}


class _WeightWatch(TorchFunctionMode):
    """Notes which module each use of a watched weight happens in."""

    def __init__(self, watched: frozenset[int], uses: _Uses, stack: Sequence[str]) -> None:
        super().__init__()
        self.watched, self.uses, self.stack = watched, uses, stack

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in _SELECTIONS or (name == "__getitem__" and any(t.dtype == torch.bool for t in tensors_in(args[1:]))):
            self.uses.selects = True
        # Reading a weight's shape or device is no use of it: nothing that is computed comes of it.
        if self.stack and tensors_in(result):
            for tensor in tensors_in((args, kwargs or {})):
                if id(tensor) in self.watched:
                    self.uses.users[id(tensor)].add(self.stack[-1])
        return result


@contextmanager
def _watching(model: nn.Module, weights: frozenset[int], uses: _Uses, count: int) -> Iterator[None]:
    stack = list[str]()
    calls = uses.calls[count] = defaultdict(list)

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: stack.append(name)

    def leave(name: str) -> Callable[..., None]:
        def on_leave(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            stack.pop()
            calls[name].append(_Call.of(args, kwargs, output, count))

        return on_leave

    with ExitStack() as handles:
        for name, module in model.named_modules():
            before = module.register_forward_pre_hook(enter(name))
            handles.callback(before.remove)
            after = module.register_forward_hook(leave(name), with_kwargs=True)
            handles.callback(after.remove)
        handles.enter_context(_WeightWatch(weights, uses, stack))
        yield


def plan_recording(
    model: nn.Module,
    layers: Sequence[FilterLayer],
    forward: Callable[[int], Any],
    examples: int = 2,
    folded: frozenset[str] = frozenset(),
) -> Plan:
    """Run the model on one and on two examples and decide how each layer is scored.

    Args:
        model: The model, in evaluation mode.
        layers: Layers to score.
        forward: Runs the model on so many examples, the first ones of the batch.
        examples: 2, or 1 for a plan that will serve batches of one only.
        folded: Layers that were seen with other than one row per example.

    Raises:
        LayerError: A layer that the caller named is never reached.
    """
    watched = frozenset(id(w) for layer in layers for w in layer.weights if isinstance(w, nn.Parameter))
    uses = _Uses()
    for count in range(1, examples + 1):
        with _watching(model, watched, uses, count):
            forward(count)
    names = {module: name for name, module in model.named_modules()}
    hooked: dict[str, tuple[nn.Module, ...]] = {}
    through: dict[str, nn.Module] = {}
    unused = set()
    for layer in layers:
        users = _users(layer, uses)
        if not users:
            if layer.explicit:
                raise LayerError(_never_reached(layer.name))
            unused.add(layer.name)
        elif layer.name in folded:
            through[layer.name] = model
        elif (modules := _hookable(model, layer, users, uses)) is not None:
            hooked[layer.name] = modules
        else:
            through[layer.name] = model.get_submodule(_owner(users, uses))
    batched = {module: uses.batched_arguments(names[module]) for module in through.values()}
    largest = max(call.bytes for calls in uses.calls[1].values() for call in calls)
    return Plan(hooked, through, frozenset(unused), batched, largest, examples, uses.mixes_examples)


def _users(layer: FilterLayer, uses: _Uses) -> set[str]:
    """Names of the modules that a layer's weights are used in."""
    if all(isinstance(weight, nn.Parameter) for weight in layer.weights):
        return set().union(*(uses.users.get(id(weight), set()) for weight in layer.weights))
    # A weight that is computed anew for each call (weight norm, parametrizations) belongs to its layer alone.
    return {layer.name} if uses.calls[1][layer.name] else set()


def _hookable(model: nn.Module, layer: FilterLayer, users: set[str], uses: _Uses) -> tuple[nn.Module, ...] | None:
    """The modules to hook, if each use of the weight is a call of a layer like this one, examples apart."""
    if layer.rule.gradients is None:
        return None
    modules = tuple(model.get_submodule(name) for name in sorted(users))
    for name, module in zip(sorted(users), modules, strict=True):
        like = module is layer.module or (
            type(module) is type(layer.module)
            and rule_of(module) == layer.rule
            and all(a is b for a, b in zip(layer.rule.weights(module), layer.weights, strict=True))
        )
        dimension = layer.rule.batch_dimension(module)
        if not like or not uses.keeps_examples(name, dimension):
            return None
    return modules


def _owner(users: set[str], uses: _Uses) -> str:
    """Name of the innermost module around all uses that keeps the examples in dimension 0."""
    paths = [name.split(".") if name else [] for name in users]
    shared = 0
    while all(len(path) > shared for path in paths) and len({path[shared] for path in paths}) == 1:
        shared += 1
    names = [".".join(paths[0][:depth]) for depth in range(shared, 0, -1)]
    return next((name for name in names if uses.keeps_examples(name, 0)), "")


def _never_reached(name: str) -> str:
    return (
        f"Expected every layer named in `layers` to take part in the forward pass, but {name!r} is never reached in "
        "evaluation mode. Leave it out, or name the layer that does its work."
    )
