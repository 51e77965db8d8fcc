"""What forward passes show of a model: which modules use which weights, and which keep the examples apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_paramsal.hooks.calls import tensors_in

VALUES = 256
"""Most values of a row that two runs are compared by."""

ROUNDING, DOUBLE_ROUNDING = 0.02, 1e-9
"""Differences, relative to a row's largest value, that may be rounding; half precision and TF32 need the first."""

_SELECTIONS = {"argwhere", "masked_select", "nonzero", "unique"}
"""Functions whose result has a size that depends on values."""


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
class WeightUses:
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

    def __init__(self, watched: frozenset[int], uses: WeightUses, stack: Sequence[str]) -> None:
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
def watching(model: nn.Module, weights: frozenset[int], uses: WeightUses, count: int) -> Iterator[None]:
    """Note what happens while the model runs on so many examples.

    Args:
        model: The model.
        weights: Identities of the parameters whose uses are wanted.
        uses: Where it is noted.
        count: Examples that the model runs on.
    """
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
