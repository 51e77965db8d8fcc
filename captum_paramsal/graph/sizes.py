"""Sizes that go with the number of examples: a run notes numbers, and two runs show which of them grow with the batch."""

from __future__ import annotations

from collections.abc import Sequence
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
            return type(value)(cls.resolved(one, examples) for one in value)
        if isinstance(value, dict):
            return {key: cls.resolved(one, examples) for key, one in value.items()}
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
    place = {node: number for number, node in enumerate(ours)}
    their_place = {node: number for number, node in enumerate(theirs)}
    if len(ours) != len(theirs):
        return f"there are {len(ours)} operations for {examples} examples and {len(theirs)} for {other_examples}"
    changes = []
    for one, two in zip(ours, theirs, strict=True):
        if (one.op, one.target) != (two.op, two.target) and one.op != "placeholder":
            return f"'{one}' is '{two}' for {other_examples} examples"
        try:
            merged = _merged((one.args, one.kwargs), (two.args, two.kwargs), examples, other_examples, place, their_place)
        except _DifferentError as difference:
            return f"'{one}' has {difference} for {other_examples} examples instead of {examples}"
        if _holds_sizes(merged):
            changes.append((one, merged))
    for node, (args, kwargs) in changes:
        node.args, node.kwargs = args, kwargs
        node.meta["per_example"] = True
    return None


class _DifferentError(Exception):
    """An argument that does not go with the number of examples."""


def _merged(one: Any, two: Any, n: int, m: int, place: dict[fx.Node, int], other: dict[fx.Node, int]) -> Any:  # noqa: PLR0917 -- one recursion
    if isinstance(one, fx.Node):
        if not isinstance(two, fx.Node) or place[one] != other[two]:
            raise _DifferentError(f"{two} in place of {one}")
        return one
    if isinstance(one, (tuple, list)):
        if not isinstance(two, Sequence) or len(one) != len(two):
            raise _DifferentError(f"{two} in place of {one}")
        parts = [_merged(a, b, n, m, place, other) for a, b in zip(one, two, strict=True)]
        return parts if isinstance(one, list) else tuple(parts)
    if isinstance(one, dict):
        return {key: _merged(value, two[key], n, m, place, other) for key, value in one.items()}
    if isinstance(one, slice):
        ends = (one.start, one.stop, one.step)
        return slice(*_merged(ends, (two.start, two.stop, two.step), n, m, place, other))
    if isinstance(one, Tensor):
        return one
    if one == two:
        return one
    if type(one) is int and type(two) is int and one % n == 0 and one // n * m == two:
        return PerExample(one // n)
    raise _DifferentError(f"{two} in place of {one}")


def _holds_sizes(value: Any) -> bool:
    if isinstance(value, PerExample):
        return True
    if isinstance(value, dict):
        return _holds_sizes(list(value.values()))
    if isinstance(value, slice):
        return _holds_sizes([value.start, value.stop, value.step])
    return isinstance(value, (tuple, list)) and any(map(_holds_sizes, value))
