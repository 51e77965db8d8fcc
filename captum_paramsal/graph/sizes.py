"""Sizes that go with the number of examples: two runs show which of them grow with the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx


@dataclass(frozen=True)
class PerExample:
    """A number that is so many times the number of examples.

    Attributes:
        factor: How many times.
    """

    factor: int

    @classmethod
    def resolved(cls, value: Any, examples: int) -> Any:
        """Arguments with the numbers for so many examples."""
        if isinstance(value, cls):
            return value.factor * examples
        if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
            return type(value)(cls.resolved(item, examples) for item in value)
        if isinstance(value, dict):
            return {key: cls.resolved(item, examples) for key, item in value.items()}
        if isinstance(value, slice):
            return slice(*cls.resolved((value.start, value.stop, value.step), examples))
        return value


def depends_on_size(node: fx.Node) -> bool:
    """Whether an argument of an operation goes with the number of examples."""
    return bool(node.meta.get("per_example"))


def mark_sizes(graph: fx.Graph, examples: int, other: fx.Graph, other_examples: int) -> str | None:
    """Note in a graph which numbers go with the number of examples.

    Args:
        graph: Of a run on so many examples; changed.
        examples: How many.
        other: Of a run of the same model on another number of examples.
        other_examples: How many.

    Returns:
        None; or else why the network cannot be run on other numbers of examples: another operation, or a number that
        grows in another way.
    """
    ours, theirs = list(graph.nodes), list(other.nodes)
    if len(ours) != len(theirs):
        return f"there are {len(ours)} operations for {examples} examples and {len(theirs)} for {other_examples}"
    sizes = _Sizes(examples, other_examples, dict(zip(ours, theirs, strict=True)))
    changes = []
    for one, two in zip(ours, theirs, strict=True):
        if (one.op, one.target) != (two.op, two.target) and one.op != "placeholder":
            return f"'{one}' is '{two}' for {other_examples} examples"
        merged = sizes.merged((one.args, one.kwargs), (two.args, two.kwargs))
        if sizes.difference is not None:
            return f"'{one}' has {sizes.difference} for {other_examples} examples instead of {examples}"
        if _holds_sizes(merged):
            changes.append((one, merged))
    for node, (args, kwargs) in changes:
        node.args, node.kwargs = args, kwargs
        node.meta["per_example"] = True
    return None


@dataclass
class _Sizes:
    """Arguments of two runs, held against each other.

    Attributes:
        examples: Of the first run.
        others: Of the second.
        twins: Operation of the second run for each of the first.
        difference: The first that does not go with the number of examples.
    """

    examples: int
    others: int
    twins: Mapping[fx.Node, fx.Node]
    difference: str | None = None

    def merged(self, one: Any, two: Any) -> Any:
        """The first run's arguments, with what goes with the number of examples as such."""
        if isinstance(one, (tuple, list)) and isinstance(two, (tuple, list)) and len(one) == len(two):
            parts = [self.merged(a, b) for a, b in zip(one, two, strict=True)]
            return parts if isinstance(one, list) else tuple(parts)
        if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
            return {key: self.merged(value, two[key]) for key, value in one.items()}
        if isinstance(one, slice) and isinstance(two, slice):
            return slice(*self.merged((one.start, one.stop, one.step), (two.start, two.stop, two.step)))
        if type(one) is int and type(two) is int and one != two and one * self.others == two * self.examples:
            return PerExample(one // self.examples)
        if not self._is_same(one, two):
            self.difference = self.difference or f"{two} in place of {one}"
        return one

    def _is_same(self, one: Any, two: Any) -> bool:
        if isinstance(one, fx.Node):
            return self.twins[one] is two
        return isinstance(one, Tensor) or bool(one == two)


def _holds_sizes(value: Any) -> bool:
    if isinstance(value, PerExample):
        return True
    if isinstance(value, dict):
        return _holds_sizes(list(value.values()))
    if isinstance(value, slice):
        return _holds_sizes([value.start, value.stop, value.step])
    return isinstance(value, (tuple, list)) and any(map(_holds_sizes, value))


class SizesSeen:
    """Graphs of runs on several numbers of examples, which show what goes with that number."""

    def __init__(self) -> None:
        self._graphs: dict[int, fx.Graph] = {}

    def mark(self, graph: fx.Graph, examples: int, run_on: Callable[[Tensor], fx.Graph]) -> bool:
        """Note in a graph which numbers go with the number of examples.

        Args:
            graph: Of a run on so many examples; changed.
            examples: How many.
            run_on: Runs the model on some of the examples, by their numbers.

        Returns:
            Whether the network can be run on other numbers of examples.
        """
        for other, known in self._graphs.items():
            if other != examples and mark_sizes(graph, examples, known, other) is None:
                return True
        # The first batch, or one that went another way. One example less stays within a caller's bound.
        fewer = torch.arange(examples - 1) if examples > 1 else torch.tensor([0, 0])
        try:
            other_graph = run_on(fewer)
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
            return False
        self._graphs = {len(fewer): other_graph}
        return mark_sizes(graph, examples, other_graph, len(fewer)) is None
