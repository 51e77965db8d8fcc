"""Pools: maxima, averages and sums over windows, and over whole dimensions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from captum_paramsal.errors import TraceError
from captum_paramsal.functional.convolution import per_dimension
from captum_paramsal.functional.receptive_fields import of_flat_map
from captum_paramsal.graph.operations import OPERATIONS, Kind, kind_of, name_of
from captum_paramsal.graph.registry import trace_rule, trace_rule_of
from captum_paramsal.graph.rule import Found, Passing, TraceRule
from captum_paramsal.graph.rules.convolution import reaching
from captum_paramsal.graph.rules.joining import largest, operand_at
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step, argument_of

_ON_THE_WAY = frozenset({
    Kind.SAME, Kind.DROPOUT, Kind.REARRANGEMENT, Kind.FLATTENING, Kind.RESHAPING, Kind.PRODUCT, Kind.QUOTIENT,
})  # fmt: skip
"""What may lie between two averages that are one: what moves values, or scales all by the same number."""


@dataclass(frozen=True)
class Pooled:
    """What M neurons of a pool see of their channel.

    Attributes:
        index: Neurons of the input, ``(M, K)``.
        inside: Which of them are in the map, ``(M, K)``.
        size: Numbers that an average divides by, ``(M,)``.
        whole: Whether the pool goes over the whole map.
    """

    index: Tensor
    inside: Tensor
    size: Tensor
    whole: bool

    def values(self, tensor: Tensor) -> Tensor:
        """Values of these neurons, ``(M, K)``; -inf outside the map."""
        return tensor.reshape(-1)[self.index].masked_fill(~self.inside, -torch.inf)


class _Pool(TraceRule):
    """A pool over windows of a map."""

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """The support itself."""
        return self.support(step, sites)

    def seen(self, step: Step, sites: Sites) -> Pooled:
        """The windows of some neurons."""
        shape, count = step.shape_of(step.source), pool_dimensions(step.node)
        lead = len(shape) - count
        before = torch.unravel_index(sites.index, step.shape)
        first = torch.zeros_like(sites.index)
        for place, size in zip(before[:lead], shape[:lead], strict=True):
            first = first * size + place
        extents = [
            self._extent(step, dimension, place, size)
            for dimension, (place, size) in enumerate(zip(before[lead:], shape[lead:], strict=True))
        ]
        taps, inside, counted = zip(*extents, strict=True)
        places, within = of_flat_map(taps, inside, shape[lead:])
        index = first[:, None] * prod(shape[lead:]) + places
        return Pooled(index, within, torch.stack(counted).prod(dim=0), prod(step.shape[lead:]) == 1)

    def _extent(self, step: Step, dimension: int, place: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Places of the windows in one dimension ``(M, K)``, which of them are in the map, and how many count."""
        count = pool_dimensions(step.node)
        if "adaptive" in name_of(step.node.target):
            parts = step.shape[len(step.shape) - count + dimension]
            start, end = place * size // parts, -(-(place + 1) * size // parts)
            taps = start[:, None] + torch.arange(int((end - start).max()) if len(place) else 0, device=place.device)
            return taps.clamp(max=size - 1), taps < end[:, None], end - start
        kernel, stride, padding, dilation = (
            per_dimension(setting, count)[dimension] for setting in pool_movement(step.node)
        )
        start = place * stride - padding
        taps = start[:, None] + dilation * torch.arange(kernel, device=place.device)
        inside = (taps >= 0) & (taps < size)
        # A window that hangs over the padding counts as far as the padding goes.
        counted = (start + kernel).clamp(max=size + padding) - start
        padded = step.value(step.argument(5, "count_include_pad", default=True))
        return taps.clamp(0, size - 1), inside, counted if padded else inside.sum(dim=1)


@trace_rule(*OPERATIONS[Kind.MAX_POOL].calls, *OPERATIONS[Kind.ADAPTIVE_MAX_POOL].calls)
class MaxPool(_Pool):
    """A neuron's value is the largest of its window."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The place of the largest value, the first of equal ones."""
        return [(step.source, sites.at(highest(step, self.seen(step, sites))))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The largest value itself; through it, what supports the neuron that it was taken from."""
        if step.settings.through_maxima:
            return step.support_of(self.back(step, sites), len(sites))
        return sites.gain * self.seen(step, sites).values(step.maps).amax(dim=1)


class Averaging(TraceRule):
    """A neuron's value is an average or a sum of others: the strongest of these carried it."""

    @abstractmethod
    def seen(self, step: Step, sites: Sites) -> Pooled:
        """What some neurons were made of."""

    @abstractmethod
    def divisor(self, step: Step, seen: Pooled) -> Tensor | float:
        """What the sum of these is divided by."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The strongest place of a window; of whole dimensions, as many as are followed."""
        averaged = Averaged.of(self, step, sites)
        scaled = replace(sites, gain=sites.gain * averaged.gain)
        return [(averaged.step.source, strongest(averaged.step, scaled, averaged.seen))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The largest share of the average, or the largest summand."""
        averaged = Averaged.of(self, step, sites)
        return largest_share(averaged.step, sites, averaged.seen) / averaged.divisor

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """The support itself."""
        return self.support(step, sites)


@dataclass(frozen=True)
class Averaged:
    """What M neurons are averages of, where averages of averages are taken for one, as they are the same function.

    Attributes:
        step: The first of these operations.
        seen: What it was made of.
        divisor: What the sum of that is divided by, ``(M,)``.
        gain: How many times the average the neurons' values are, ``(M,)``: for a sum the number of summands.
    """

    step: Step
    seen: Pooled
    divisor: Tensor
    gain: Tensor

    @classmethod
    def of(cls, rule: Averaging, step: Step, sites: Sites) -> Averaged:
        """Go back from an average as far as it is one."""
        averaged = cls._alone(rule, step, sites)
        while averaged.seen.whole and averaged.seen.index.numel():
            further = averaged.further()
            if further is None:
                break
            averaged = further
        return averaged

    @classmethod
    def _alone(cls, rule: Averaging, step: Step, sites: Sites) -> Averaged:
        seen = rule.seen(step, sites)
        divisor = torch.ones_like(sites.gain) * rule.divisor(step, seen)
        return cls(step, seen, divisor, seen.size / divisor)

    def further(self) -> Averaged | None:
        """As averages of what an average before was made of; None where there is none, or its shares differ."""
        count, width = self.seen.index.shape
        nothing = self.divisor.new_zeros(1, 4).expand(count * width, 4)
        every = Sites(self.seen.index.flatten(), self.seen.index.flatten(), torch.ones_like(nothing[:, 0]), nothing)
        step, node = self.step, self.step.source
        while True:
            step, rule = step.at(node), trace_rule_of(node, step.run.model)
            if node not in step.run.of_inputs or node.op == "placeholder":
                return None
            if isinstance(rule, Averaging):
                break
            if rule is None or len(node.all_input_nodes) != 1 or kind_of(node, step.run.model) not in _ON_THE_WAY:
                return None
            sources = rule.back(step, every)
            if len(sources) != 1 or len(sources[0][1]) != len(every):
                return None
            # A part of a split names what was split, past the list of parts.
            node, every = sources[0]
        before, scale = self._alone(rule, step, every), every.gain.view(count, width)
        index = before.seen.index.view(count, -1)
        apart = bool((index.sort(dim=1).values.diff(dim=1) > 0).all()) and bool(before.seen.inside.all())
        shares = (scale / before.divisor.view(count, width)).expand(count, width)
        if not apart or not bool((shares == shares[:, :1]).all()) or not bool((shares > 0).all()):
            return None
        size = torch.full_like(self.seen.size, index.shape[1])
        seen = Pooled(index, torch.ones_like(index, dtype=torch.bool), size, whole=True)
        divisor = self.divisor / shares[:, 0]
        return Averaged(step, seen, divisor, size / divisor)


@trace_rule(*OPERATIONS[Kind.AVERAGE_POOL].calls)
class AveragePool(_Pool, Averaging):
    """A neuron's value is the average of its window."""

    def divisor(self, step: Step, seen: Pooled) -> Tensor | float:
        """The size of the window, or what it was told."""
        divisor = _divisor(step)
        return seen.size if divisor is None else divisor


class _OverDimensions(TraceRule):
    """A reduction over dimensions of each image."""

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """The support itself."""
        return self.support(step, sites)

    def seen(self, step: Step, sites: Sites) -> Pooled:
        """What some neurons were reduced from."""
        shape, result = step.shape_of(step.source), step.shape
        dimensions = sorted(dimension % len(shape) for dimension in reduced_dimensions(step.node, len(shape)))
        kept = [dimension for dimension in range(len(shape)) if dimension not in dimensions]
        if shape[0] > 1 and 0 in dimensions and result[:1] != shape[:1] and step.run.output.shape[0] == shape[0]:
            message = f"Expected a mean over dimensions of each image, got one over the images in '{step.node}'."
            raise TraceError(message)
        index = torch.arange(prod(shape), device=sites.index.device).reshape(shape).permute(*kept, *dimensions)
        seen = index.reshape(prod(result), -1)[sites.index]
        size = torch.full_like(sites.index, seen.shape[1])
        return Pooled(seen, torch.ones_like(seen, dtype=torch.bool), size, whole=True)


@trace_rule(*OPERATIONS[Kind.AVERAGE].calls)
class Average(_OverDimensions, Averaging):
    """An average over dimensions of each image."""

    def divisor(self, step: Step, seen: Pooled) -> Tensor | float:
        """How many places there are."""
        del step
        return seen.size


@trace_rule("sum", torch.sum)
class SumOverDimensions(_OverDimensions, Averaging):
    """A sum over dimensions of each image: so many times their average."""

    def divisor(self, step: Step, seen: Pooled) -> Tensor | float:
        """Nothing."""
        del step, seen
        return 1


@trace_rule(*OPERATIONS[Kind.MAXIMUM].calls, *OPERATIONS[Kind.LARGER].calls)
class Maximum(_OverDimensions):
    """The largest of two operands, or over dimensions of each image."""

    def back(self, step: Step, sites: Sites) -> Found:
        """Where the largest value is, the first of equal ones."""
        operands = self._operands(step, sites)
        if operands:
            return largest(step, operands)
        return [(step.source, sites.at(highest(step, self.seen(step, sites))))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The largest value itself; through it, what supports the neuron that it was taken from."""
        operands = self._operands(step, sites)
        if operands:
            shares = torch.stack([operand.gain * operand.values(step.run.tensor(node)) for node, operand in operands])
            best, chosen = shares.max(dim=0)
            if not step.settings.through_maxima:
                return best
            supports = torch.stack([step.support_of([operand], len(sites)) for operand in operands])
            return supports.gather(0, chosen[None])[0]
        if step.settings.through_maxima:
            return step.support_of(self.back(step, sites), len(sites))
        return sites.gain * self.seen(step, sites).values(step.maps).amax(dim=1)

    def _operands(self, step: Step, sites: Sites) -> Found:
        both: Any = (*step.node.args, *step.node.kwargs.values())
        if sum(isinstance(node, fx.Node) for node in both) < 2:
            return []
        return [operand_at(step, node, sites, sites.gain) for node in both if step.is_computed(node)]


@trace_rule(*OPERATIONS[Kind.OVERLAY].calls)
class Overlay(TraceRule):
    """A sum of the windows' values at a place, as ``fold`` makes it: the inverse of looking at windows."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The window's value that is the largest summand."""
        return [(step.source, strongest(step, sites, self.seen(step, sites)))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The largest summand."""
        return largest_share(step, sites, self.seen(step, sites))

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """The support itself."""
        return self.support(step, sites)

    def seen(self, step: Step, sites: Sites) -> Pooled:
        """The windows' values that reach some places."""
        kernel, dilation, padding, stride = (
            per_dimension(step.value(step.argument(place, name, default)), 2)
            for place, name, default in (
                (2, "kernel_size", 1), (3, "dilation", 1), (4, "padding", 0), (5, "stride", 1),
            )
        )  # fmt: skip
        sizes = [
            (size + 2 * around - apart * (width - 1) - 1) // move + 1
            for size, width, apart, around, move in zip(step.shape[-2:], kernel, dilation, padding, stride, strict=True)
        ]
        place = torch.unravel_index(sites.index % step.shape[-2:].numel(), tuple(step.shape[-2:]))
        window, inside, _ = reaching(place, sizes, (kernel, stride, padding, dilation))
        # Values of a channel are ordered by their place in the window, then by the window.
        taps = torch.arange(prod(kernel), device=window.device)
        channel = sites.index // step.shape[-2:].numel()
        index = (channel[:, None] * len(taps) + taps) * prod(sizes) + window
        return Pooled(index, inside, inside.sum(dim=1), whole=False)


@trace_rule(*OPERATIONS[Kind.RESIZING].calls)
class Resizing(Passing):
    """A map in another size: the neuron that the value is a copy of, or that of the nearest place."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The nearest place's neuron."""
        if str(step.argument(3, "mode", "nearest")).startswith("nearest"):
            return [(step.source, sites.at(_copied(step, sites.index)))]
        shape, result = step.shape_of(step.source), step.shape
        index = torch.zeros_like(sites.index)
        for place, size, new in zip(torch.unravel_index(sites.index, result), shape, result, strict=True):
            nearest = place if size == new else ((2 * place + 1) * size // (2 * new)).clamp(max=size - 1)
            index = index * size + nearest
        return [(step.source, sites.at(index))]


def _copied(step: Step, index: Tensor) -> Tensor:
    """Which neuron of a map each of another size is a copy of: the operation, run on one map of numbers, tells."""
    sizes, count = step.shape_of(step.source)[2:], step.shape[2:].numel()
    numbers = torch.arange(sizes.numel(), device=index.device, dtype=torch.float64).reshape(1, 1, *sizes)
    target: Any = step.node.target
    given = {name: step.value(value) for name, value in step.node.kwargs.items() if name != "input"}
    origin: Tensor = target(numbers, *step.value(step.node.args[1:]), **given).flatten().round().long()
    return index // count * sizes.numel() + origin[index % count]


def highest(step: Step, seen: Pooled) -> Tensor:
    """Index of the largest value of each window, the first of equal ones."""
    best = seen.values(step.maps).argmax(dim=1, keepdim=True)
    return seen.index.gather(1, best)[:, 0]


def strongest(step: Step, sites: Sites, seen: Pooled) -> Sites:
    """The strongest places of a window, one; of a whole map those that are followed and support the neuron."""
    shares = (seen.values(step.maps) * sites.gain[:, None]).masked_fill(~seen.inside, -torch.inf)
    if not seen.whole:
        return sites.at(seen.index.gather(1, shares.argmax(dim=1)[:, None])[:, 0])
    best, places = shares.sort(dim=1, descending=True, stable=True)
    kept = step.settings.places_of(best.shape[1])
    neuron, rank = (best[:, :kept] > 0).nonzero(as_tuple=True)
    return sites[neuron].at(seen.index[neuron, places[neuron, rank]])


def largest_share(step: Step, sites: Sites, seen: Pooled) -> Tensor:
    """The largest value of one place, times the gain."""
    return (seen.values(step.maps) * sites.gain[:, None]).masked_fill(~seen.inside, -torch.inf).amax(dim=1)


def pool_dimensions(node: fx.Node) -> int:
    """Dimensions of the windows, which a pool's name tells."""
    return int(name_of(node.target).rstrip("_")[-2])


def pool_movement(node: fx.Node) -> Sequence[Any]:
    """Kernel, stride, padding and dilation of a pool."""
    kernel, stride = argument_of(node, 1, "kernel_size"), argument_of(node, 2, "stride")
    dilation = argument_of(node, 4, "dilation", 1) if "max" in name_of(node.target) else 1
    return kernel, stride or kernel, argument_of(node, 3, "padding", 0), dilation


def _divisor(step: Step) -> int | None:
    """What an average divides by instead of the window's size, if it was told so."""
    if step.node.target not in (functional.avg_pool2d, functional.avg_pool3d):
        return None
    divisor: int | None = step.value(step.argument(6, "divisor_override"))
    return divisor


def reduced_dimensions(node: fx.Node, count: int) -> list[int]:
    """Dimensions that a reduction goes over, of so many."""
    given: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", node.kwargs.get("axis"))
    if node.op == "call_method" and len(node.args) > 2 and all(type(a) is int for a in node.args[1:]):
        given = node.args[1:]
    if given is None or given == ():
        return list(range(count))
    return [given] if isinstance(given, int) else list(given)
