"""Operations that only move values: the operation itself, run on the neurons' numbers, tells where each came from."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from captum_paramsal.errors import TraceError
from captum_paramsal.graph.operations import OPERATIONS, Kind
from captum_paramsal.graph.registry import require_rule, trace_rule
from captum_paramsal.graph.rule import Found, TraceRule
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step

_MOVING = (Kind.REARRANGEMENT, Kind.FLATTENING, Kind.RESHAPING)


@trace_rule(*(spelling for kind in _MOVING for spelling in OPERATIONS[kind].every))
class Rearranged(TraceRule):
    """A neuron's value is that of one neuron of one input, or a constant of a padding."""

    rearranges = True

    def reads(self, node: fx.Node) -> Sequence[fx.Node]:
        """Nothing but numbers, which are kept anyway."""
        del node
        return ()

    def back(self, step: Step, sites: Sites) -> Found:
        """The neurons that the values came from."""
        return [(node, moved) for node, moved, _ in self._sources(step, sites)]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """What these are supported by; nothing, for a constant."""
        return self._support(step, sites, limit=False)

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """That of these; 0 for a constant."""
        return self._support(step, sites, limit=True)

    def _support(self, step: Step, sites: Sites, *, limit: bool) -> Tensor:
        supports = torch.zeros_like(sites.gain)
        for node, moved, rows in self._sources(step, sites):
            supports[rows] = step.support_of([(node, moved)], len(rows), limit=limit)
        return supports

    def _sources(self, step: Step, sites: Sites) -> list[tuple[fx.Node, Sites, Tensor]]:
        inputs = _tensors(step, step.node)
        if not len(sites) or not inputs:
            return []
        try:
            numbers = _numbers(step, inputs, 1)
        except (RuntimeError, IndexError, TypeError, ValueError):
            # The operation names the number of images.
            numbers = _numbers(step, inputs, step.run.shapes[inputs[0]][0])
        origin = numbers[sites.index] - 1
        start, found = 0, []
        for node in inputs:
            count = prod(step.shape_of(node))
            rows = ((origin >= start) & (origin < start + count)).nonzero()[:, 0]
            if len(rows):
                found.append((node, sites[rows].at(origin[rows] - start), rows))
            start += count
        return found


def _tensors(step: Step, node: fx.Node) -> list[fx.Node]:
    """Operations that the values come from, through those that make several tensors of one."""
    found = []
    for source in node.all_input_nodes:
        if source in step.run.shapes:
            found.append(source)
        elif _holds_tensors(step.run.values.get(source)):
            found += _tensors(step, source)
    return found


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and any(isinstance(one, Tensor) for one in value)


def _numbers(step: Step, inputs: Sequence[fx.Node], images: int) -> Tensor:
    """For every neuron of an image's result, the number of the one it came from, from 1; 0 for a constant."""
    numbered, start = {}, 1
    for node in inputs:
        shape, device = step.shape_of(node), step.run.device
        count = prod(shape)
        numbered[node] = torch.arange(start, start + count, device=device).reshape(1, *shape).expand(images, *shape)
        start += count
    result = _applied(step, step.node, numbered)
    if not isinstance(result, Tensor) or result.shape[1:] != step.shape:
        message = f"Expected an operation that keeps the images apart, got '{step.node}'."
        raise TraceError(message)
    return result[0].reshape(-1).round().long()


def _applied(step: Step, node: fx.Node, numbered: dict[fx.Node, Tensor]) -> Any:
    """The operation's result on numbers in place of values."""

    def found(source: fx.Node) -> Any:
        if source in numbered:
            return numbered[source]
        value = step.run.values[source]
        if not _holds_tensors(value):
            return value
        require_rule(source, step.run.modules)
        return _applied(step, source, numbered)

    args: Any = fx.node.map_arg(node.args, found)
    kwargs: Any = fx.node.map_arg(node.kwargs, found)
    if node.op == "call_method":
        self_, *others = args
        return getattr(self_, str(node.target))(*others, **kwargs)
    if node.op == "call_module":
        return step.run.modules[str(node.target)](*(one.double() for one in args), **kwargs)
    # Reflecting and replicating pads are written for floating point; numbers up to 2^53 stay exact.
    if node.target is functional.pad:
        args = (args[0].double(), *args[1:])
    return node.target(*args, **kwargs)  # type: ignore[operator]
