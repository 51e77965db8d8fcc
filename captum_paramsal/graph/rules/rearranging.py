"""Operations that only move values: the operation itself, run on the neurons' numbers, tells where each came from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from captum_paramsal.errors import TraceError
from captum_paramsal.graph.operations import OPERATIONS, Kind
from captum_paramsal.graph.registry import trace_rule
from captum_paramsal.graph.rule import Found, TraceRule
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step

_FIRST = 2**40
"""Number of the first neuron: larger than most of what a network fills with; up to 2^53 all are exact in float64."""

_MOVING = (Kind.REARRANGEMENT, Kind.FLATTENING, Kind.RESHAPING)


@trace_rule(*(spelling for kind in _MOVING for spelling in OPERATIONS[kind].calls))
class Rearranged(TraceRule):
    """A neuron's value is that of one neuron of one input, or a constant of a padding."""

    rearranges = True

    def reads(self, node: fx.Node) -> Collection[fx.Node]:
        """Index tensors and masks; the values that are moved are not looked at."""
        return [source for source in _sources(node) if not source.meta["floating"]]

    def back(self, step: Step, sites: Sites) -> Found:
        """The neurons that the values came from."""
        return [(node, moved) for node, moved, _ in self._origins(step, sites)]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """What these are supported by; nothing, for a constant."""
        return self._support(step, sites, limit=False)

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """That of these; 0 for a constant."""
        return self._support(step, sites, limit=True)

    def came_from(self, step: Step, moved: list[fx.Node], index: Tensor) -> tuple[Tensor, Tensor]:
        """Which input each neuron of the result came from, -1 for a constant, and its index there.

        Args:
            step: The operation.
            moved: The inputs whose values it moves.
            index: Of the neurons, ``(M,)``.
        """
        return _Numbering(step, moved).origins(index)

    def _support(self, step: Step, sites: Sites, *, limit: bool) -> Tensor:
        supports = torch.zeros_like(sites.gain)
        for node, moved, rows in self._origins(step, sites):
            supports[rows] = step.support_of([(node, moved)], len(rows), limit=limit)
        return supports

    def _origins(self, step: Step, sites: Sites) -> list[tuple[fx.Node, Sites, Tensor]]:
        moved = [node for node in _sources(step.node) if node.meta["floating"] and step.is_computed(node)]
        if not len(sites) or not moved:
            return []
        source, index = self.came_from(step, moved, sites.index)
        parts = []
        for place, node in enumerate(moved):
            rows = (source == place).nonzero()[:, 0]
            if len(rows):
                parts.append((node, sites[rows].at(index[rows]), rows))
        return parts


@dataclass(frozen=True)
class _Numbering:
    """An operation on numbers in place of values.

    Attributes:
        step: The operation.
        moved: The inputs whose values it moves.
    """

    step: Step
    moved: list[fx.Node]

    def origins(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Which input each neuron of the result came from, -1 for a constant, and its index there."""
        shape, count = self.step.shape, self.step.run.output.shape[0]
        rows = all(self.step.shape_of(node)[0] == count for node in self.moved) and shape[:1] == (count,)
        numbers, of_few = self.step.run.once(self.step.node, lambda: self._found(count, rows=rows and count > 2))
        if not of_few:
            source, places = self._split(numbers[index], None)
            return source, places
        size = prod(shape[1:])
        row, within = index // size, index % size
        source, places = self._split(numbers[within], 1)
        sizes = torch.tensor([prod(self.step.shape_of(node)[1:]) for node in self.moved], device=index.device)
        return source, places + row * sizes[source.clamp(min=0)]

    def _found(self, count: int, *, rows: bool) -> tuple[Tensor, bool]:
        """Numbers that the neurons came from, and whether they are those of the first image alone."""
        # Two images show where those of a batch come from, at a fraction of the numbers, if images stay apart.
        few = self._of_few(min(count, 2)) if rows else None
        return (self._numbers(None), False) if few is None else (few, True)

    def _of_few(self, images: int) -> Tensor | None:
        """Numbers that the first image's neurons came from; None if that does not show those of the others."""
        try:
            result = self._numbers(images)
        except (RuntimeError, IndexError, TypeError, ValueError):
            # The operation names the number of images.
            return None
        shape = self.step.shape
        if result.numel() != images * prod(shape[1:]):
            return None
        first, second = result.reshape(images, -1)
        sizes = [prod(self.step.shape_of(node)[1:]) for node in self.moved]
        source, place = self._split(first, images)
        other, after = self._split(second, images)
        size = torch.tensor(sizes, device=first.device)[source.clamp(min=0)]
        same = (source == other) & ((source < 0) | ((place < size) & (after == place + size)))
        if not bool(same.all()):
            return None
        starts = torch.tensor([0, *sizes], device=first.device).cumsum(0)[:-1]
        return torch.where(source < 0, 0, starts[source.clamp(min=0)] + place + 1)

    def _split(self, numbers: Tensor, images: int | None) -> tuple[Tensor, Tensor]:
        """From numbers to inputs and indices in them."""
        counts = torch.tensor([prod(self._shape(node, images)) for node in self.moved], device=numbers.device)
        ends = counts.cumsum(0)
        source = torch.bucketize(numbers, ends)
        constant = numbers == 0
        place = numbers - 1 - (ends - counts)[source]
        return source.masked_fill_(constant, -1), place.masked_fill_(constant, 0)

    def _shape(self, node: fx.Node, images: int | None) -> torch.Size:
        shape = self.step.shape_of(node)
        return shape if images is None else torch.Size((images, *shape[1:]))

    def _numbers(self, images: int | None) -> Tensor:
        """For every neuron of the result the number of the one it came from, from 1; 0 for a constant.

        Args:
            images: Run the operation on so many; None for all.
        """
        step, numbered, start = self.step, {}, _FIRST
        for node in self.moved:
            shape = self._shape(node, images)
            numbers = torch.arange(start, start + prod(shape), device=step.run.device, dtype=torch.float64)
            numbered[node] = numbers.reshape(shape)
            start += prod(shape)
        result = self._applied(step.node, numbered, images)
        if not isinstance(result, Tensor):
            message = f"Expected an operation that returns a tensor, got {type(result).__name__} from '{step.node}'."
            raise TraceError(message)
        flat = result.reshape(-1)
        return torch.where((flat >= _FIRST) & (flat < start), flat - _FIRST + 1, 0).long()

    def _applied(self, node: fx.Node, numbered: Mapping[fx.Node, Tensor], images: int | None) -> Any:
        step = self.step

        def value(source: fx.Node) -> Any:
            if source in numbered:
                return numbered[source]
            if source.meta.get("several"):
                return self._applied(source, numbered, images)
            shape, count = step.shape_of(source), step.run.output.shape[0]
            shape = torch.Size((images, *shape[1:])) if images is not None and shape[:1] == (count,) else shape
            if source.meta["floating"]:
                return torch.zeros(shape, dtype=torch.float64, device=step.run.device)
            return step.run.values[source][: shape[0]] if shape else step.run.values[source]

        args: Any = fx.node.map_arg(node.args, value)
        kwargs: Any = fx.node.map_arg(node.kwargs, value)
        target: Any = node.target
        if node.op == "call_method":
            self_, *others = args
            return getattr(self_, str(target))(*others, **kwargs)
        result = target(*args, **kwargs)
        return args[0] if result is None else result


def _sources(node: fx.Node) -> list[fx.Node]:
    """Tensors that an operation works on, through those that make several of one."""
    sources = []
    for source in node.all_input_nodes:
        sources += _sources(source) if source.meta.get("several") else [source]
    return sources
