"""What forward passes show of a model: which modules use which weights, and which keep the examples apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from captum_paramsal.hooks.calls import tensors_in, unseen
from captum_paramsal.hooks.functions import INSIDE, OPENED, FunctionCall
from captum_paramsal.hooks.module_calls import module_calls
from captum_paramsal.hooks.opened import opened

VALUES = 256
"""Most values of a row that two runs are compared by."""

ROUNDING, DOUBLE_ROUNDING = 0.02, 1e-9
"""Differences, relative to a row's largest value, that may be rounding; half precision and TF32 need the first."""

_SELECTIONS = {"argwhere", "masked_select", "nonzero", "unique"}
"""Functions whose result has a size that depends on values."""

LOOKS = frozenset({
    "__bool__", "__float__", "__int__", "__index__", "__contains__", "item", "tolist", "numpy", "is_nonzero", "equal",
    "allclose",
})  # fmt: skip
"""Functions that hand a tensor's values to the code around it, which may go another way by them."""


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
    def of(cls, tensor: Tensor, count: int, *, folded: bool = False) -> _FirstRows:
        """Of a tensor that was made of so many examples.

        Args:
            tensor: The tensor.
            count: Examples.
            folded: Take several rows in dimension 0 for one example too, such as its windows or tokens.
        """
        rows = {
            dimension: tensor.detach().select(dimension, 0).flatten()
            for dimension in range(min(tensor.ndim, 2))
            if tensor.shape[dimension] == count
        }
        if folded and tensor.ndim and tensor.shape[0] >= count and tensor.shape[0] % count == 0:
            rows[0] = tensor.detach()[: tensor.shape[0] // count].flatten()
            rows[INSIDE] = tensor.detach()[::count].flatten()
        spread = {key: row[:: len(row) // VALUES + 1].double().cpu() for key, row in rows.items()}
        return cls(spread, DOUBLE_ROUNDING if tensor.dtype == torch.float64 else ROUNDING)

    def agrees(self, other: _FirstRows, dimension: int) -> bool:
        ours, theirs = self.values[dimension], other.values[dimension]
        if ours.shape != theirs.shape:
            return False
        largest = ours.abs().nan_to_num().max().item() if len(ours) else 0.0
        return torch.allclose(ours, theirs, rtol=0.0, atol=self.tolerance * largest, equal_nan=True)


@dataclass(frozen=True)
class _Product:
    """One call of a function that multiplies by a weight.

    Attributes:
        input: Shape of what it was applied to.
        ends: Rows of the first example in input and output, by the dimension of the examples.
        bias: Identity of what was added.
    """

    input: torch.Size
    ends: tuple[_FirstRows, _FirstRows]
    bias: int | None


class FunctionUses:
    """Calls of functions that multiply by a watched weight, by the weight's identity and the number of examples run."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[int, list[_Product]]] = defaultdict(lambda: defaultdict(list))
        self._otherwise: set[int] = set()

    def note(self, call: FunctionCall, output: Tensor, count: int) -> None:
        """Keep what a later comparison needs of a call."""
        # Without a dimension for them, the examples come one by one.
        if call.input.ndim < max(2, call.weight.ndim):
            self.note_otherwise(id(call.weight))
        ends = (_FirstRows.of(call.input, count, folded=True), _FirstRows.of(output, count, folded=True))
        product = _Product(call.input.shape, ends, None if call.bias is None else id(call.bias))
        self._calls[id(call.weight)][count].append(product)

    def note_otherwise(self, weight: int) -> None:
        """A weight was used in another way."""
        self._otherwise.add(weight)

    def inputs(self, weight: int) -> list[torch.Size]:
        """Shapes that a weight was applied to in the run on one example."""
        return [product.input for product in self._calls[weight][1]]

    def dimension(self, weight: int, bias: int | None, *, linear: bool) -> int | None:
        """Dimension in which the examples are apart in all uses of a weight, or None.

        Args:
            weight: The weight's identity.
            linear: Whether the features come last.
            bias: Identity of the bias that must go with it, if one must.
        """
        runs = list(self._calls[weight].values())
        if not runs or weight in self._otherwise or len({len(run) for run in runs}) > 1:
            return None
        products = [product for run in runs for product in run]
        if bias is not None and (bias in self._otherwise or any(product.bias != bias for product in products)):
            return None
        places = min(len(product.input) - 1 for product in products)
        dimensions: tuple[int, ...] = (*range(min(places, 2)), INSIDE) if linear else (0,)
        for dimension in dimensions:
            if all(dimension in end.values for product in products for end in product.ends) and all(
                ours.agrees(theirs, dimension)
                for run in runs
                for product, first in zip(run, runs[0], strict=True)
                for ours, theirs in zip(product.ends, first.ends, strict=True)
            ):
                return dimension
        return None


@dataclass
class WeightUses:
    """What forward passes showed.

    Attributes:
        users: Modules that each weight was used in.
        touched: How often each weight was given to a function in the run on one example.
        calls: Calls of each module, by the number of examples run.
        functions: Calls of functions that multiply by a watched weight.
        read_besides: Attention whose second result, the map of its heads, a function was given.
        selects: Whether the model picks rows, or its way, by values of the examples, so that two of them do not show
            where others go.
        order: Watched weights by their identity when they were first used, and modules by name when they were first
            done.
    """

    users: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    touched: Counter[int] = field(default_factory=Counter)
    calls: dict[int, dict[str, list[_Call]]] = field(default_factory=dict)
    functions: FunctionUses = field(default_factory=FunctionUses)
    read_besides: set[str] = field(default_factory=set)
    selects: bool = False
    order: dict[int | str, None] = field(default_factory=dict)

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

    def __init__(self, watched: frozenset[int], uses: WeightUses, stack: Sequence[str], count: int) -> None:
        super().__init__()
        self.watched, self.uses, self.stack, self.count = watched, uses, stack, count
        self._of_examples = WeakIdKeyDictionary()
        self._besides = WeakIdKeyDictionary()

    def begins(self, given: Any) -> None:
        """The model is called."""
        self._of_examples.update(dict.fromkeys(tensors_in(given), True))

    def besides(self, name: str, returned: Sequence[Tensor]) -> None:
        """A module returned more than the tensor that its hook sees."""
        self._besides.update(dict.fromkeys(returned, name))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in OPENED:
            with self:
                return opened(func)(*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        given, returned = tensors_in((args, kwargs or {})), tensors_in(result)
        of_examples = any(tensor in self._of_examples for tensor in given)
        if of_examples:
            self._of_examples.update(dict.fromkeys(returned, True))
        picks = name in _SELECTIONS or (
            name == "__getitem__" and any(t.dtype == torch.bool for t in tensors_in(args[1:]))
        )
        if picks or (of_examples and name in LOOKS):
            self.uses.selects = True
        # Reading a weight's shape or device is no use of it: nothing that is computed comes of it.
        if self.stack and returned:
            self.uses.read_besides.update(self._besides[tensor] for tensor in given if tensor in self._besides)
            for tensor in given:
                if id(tensor) in self.watched:
                    self.uses.users[id(tensor)].add(self.stack[-1])
                    self.uses.touched[id(tensor)] += self.count == 1
                    self.uses.order.setdefault(id(tensor))
            self._note(FunctionCall.of(func, args, kwargs or {}), result, given)
        return result

    def _note(self, call: FunctionCall | None, result: Any, given: Sequence[Tensor]) -> None:
        product = None if call is None else (call.weight, call.bias)
        for tensor in given:
            if id(tensor) in self.watched and not any(tensor is known for known in product or ()):
                self.uses.functions.note_otherwise(id(tensor))
        if call is not None and id(call.weight) in self.watched:
            self.uses.functions.note(call, result, self.count)


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
    watch = _WeightWatch(weights, uses, stack, count)

    def entered(name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not stack:
            watch.begins((args, kwargs))
        stack.append(name)

    def left(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        stack.pop()
        with unseen():
            calls[name].append(_Call.of(args, kwargs, output, count))
            if isinstance(module, nn.MultiheadAttention):
                watch.besides(name, tensors_in(output)[1:])
            uses.order.setdefault(name)

    with module_calls(model, entered, left), watch:
        yield
