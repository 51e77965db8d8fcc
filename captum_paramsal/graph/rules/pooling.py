"""Pools: maxima and averages over windows, and over the whole map."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_paramsal.errors import TraceError
from captum_paramsal.graph.operations import OPERATIONS, Kind
from captum_paramsal.graph.registry import trace_rule
from captum_paramsal.graph.rule import Found, TraceRule
from captum_paramsal.graph.rules.convolution import pair, places_of
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step


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

    def values(self, tensor: Tensor, image: Tensor) -> Tensor:
        """Values of these neurons, ``(M, K)``; -inf outside the map."""
        found = tensor.reshape(len(tensor), -1)[image[:, None], self.index]
        return found.masked_fill(~self.inside, -torch.inf)


class _Pool(TraceRule):
    """A pool over windows of a map."""

    @abstractmethod
    def back(self, step: Step, sites: Sites) -> Found:
        """The strongest neuron of the window."""

    def seen(self, step: Step, sites: Sites) -> Pooled:
        """The windows of some neurons."""
        shape = step.shape_of(step.source)
        if len(shape) != 3:
            message = f"Expected pools over maps of two dimensions, got an input {tuple(shape)} in '{step.node}'."
            raise TraceError(message)
        channel, row, column = places_of(sites.index, step.shape)
        (rows, rows_inside, high), (columns, columns_inside, wide) = (
            self._extent(step, dimension, place, size)
            for dimension, place, size in ((0, row, shape[1]), (1, column, shape[2]))
        )
        index = (channel[:, None, None] * shape[1] + rows[:, :, None]) * shape[2] + columns[:, None, :]
        inside = rows_inside[:, :, None] & columns_inside[:, None, :]
        whole = prod(step.shape[1:]) == 1
        return Pooled(index.flatten(1), inside.flatten(1), high * wide, whole)

    def _extent(self, step: Step, dimension: int, place: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows or columns of the windows ``(M, K)``, which of them are in the map, and how many count."""
        if _is_adaptive(step):
            parts = step.shape[1 + dimension]
            start, end = place * size // parts, -(-(place + 1) * size // parts)
            taps = start[:, None] + torch.arange(int((end - start).max()) if len(place) else 0, device=place.device)
            return taps.clamp(max=size - 1), taps < end[:, None], end - start
        kernel, stride, padding, dilation = (pair(one)[dimension] for one in _movement(step))
        start = place * stride - padding
        taps = start[:, None] + dilation * torch.arange(kernel, device=place.device)
        inside = (taps >= 0) & (taps < size)
        # A window that hangs over the padding counts as far as the padding goes.
        counted = (start + kernel).clamp(max=size + padding) - start
        return taps.clamp(0, size - 1), inside, counted if _counts_padding(step) else inside.sum(dim=1)


@trace_rule(*OPERATIONS[Kind.MAX_POOL].every, *OPERATIONS[Kind.ADAPTIVE_MAX_POOL].every)
class MaxPool(_Pool):
    """A neuron's value is the largest of its window."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The place of the largest value, the first of equal ones."""
        seen = self.seen(step, sites)
        best = seen.values(step.run.values[step.source], sites.image).argmax(dim=1)
        return [(step.source, sites.at(seen.index.gather(1, best[:, None])[:, 0]))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The largest value itself."""
        values = self.seen(step, sites).values(step.run.values[step.source], sites.image)
        return sites.gain * values.amax(dim=1)

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """The support itself."""
        return self.support(step, sites)


@trace_rule(*OPERATIONS[Kind.AVERAGE_POOL].every)
class AveragePool(_Pool):
    """A neuron's value is the average of its window."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The strongest place of the window; of the whole map, as many as are followed."""
        seen = self.seen(step, sites)
        return [(step.source, strongest(step, sites, seen))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The largest share of the average."""
        return largest_share(step, sites, self.seen(step, sites))

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """The support itself."""
        return self.support(step, sites)


@trace_rule(*OPERATIONS[Kind.AVERAGE].every)
class AverageOverPlaces(TraceRule):
    """An average over dimensions of each image."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The strongest places, as many as are followed."""
        return [(step.source, strongest(step, sites, self._seen(step, sites)))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The largest share of the average."""
        return largest_share(step, sites, self._seen(step, sites))

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """The support itself."""
        return self.support(step, sites)

    def _seen(self, step: Step, sites: Sites) -> Pooled:
        shape = step.shape_of(step.source)
        dimensions = [one % (len(shape) + 1) - 1 for one in _dimensions(step)]
        if min(dimensions) < 0:
            message = f"Expected a mean over dimensions of each image, got one over the images in '{step.node}'."
            raise TraceError(message)
        kept = [one for one in range(len(shape)) if one not in dimensions]
        index = torch.arange(prod(shape), device=sites.index.device).reshape(shape).permute(*kept, *dimensions)
        seen = index.reshape(prod(step.shape), -1)[sites.index]
        size = torch.full_like(sites.index, seen.shape[1])
        return Pooled(seen, torch.ones_like(seen, dtype=torch.bool), size, whole=True)


def strongest(step: Step, sites: Sites, seen: Pooled) -> Sites:
    """The strongest places of a window, one; of a whole map those that are followed and support the neuron."""
    values = seen.values(step.run.values[step.source], sites.image)
    shares = (values * sites.gain[:, None]).masked_fill(~seen.inside, -torch.inf)
    if not seen.whole:
        return sites.at(seen.index.gather(1, shares.argmax(dim=1)[:, None])[:, 0])
    best, places = shares.sort(dim=1, descending=True, stable=True)
    kept = step.settings.places_of(best.shape[1])
    neuron, rank = (best[:, :kept] > 0).nonzero(as_tuple=True)
    return sites[neuron].at(seen.index[neuron, places[neuron, rank]])


def largest_share(step: Step, sites: Sites, seen: Pooled) -> Tensor:
    """The largest share of one place in an average, times the gain."""
    values = seen.values(step.run.values[step.source], sites.image)
    shares = (values * sites.gain[:, None]).masked_fill(~seen.inside, -torch.inf)
    return shares.amax(dim=1) / (_divisor(step) or seen.size)


def _is_adaptive(step: Step) -> bool:
    what = step.module if step.node.op == "call_module" else step.node.target
    return "adaptive" in (type(what).__name__ if isinstance(what, nn.Module) else getattr(what, "__name__", "")).lower()


def _movement(step: Step) -> Sequence[Any]:
    """Kernel, stride, padding and dilation of a pool."""
    if step.node.op == "call_module":
        module: Any = step.module
        return module.kernel_size, module.stride, module.padding, getattr(module, "dilation", 1)
    kernel = step.value(step.argument(1, "kernel_size"))
    stride, padding = step.value(step.argument(2, "stride")), step.value(step.argument(3, "padding", 0))
    maximum = "max" in getattr(step.node.target, "__name__", "")
    return kernel, stride or kernel, padding, step.value(step.argument(4, "dilation", 1)) if maximum else 1


def _counts_padding(step: Step) -> bool:
    if step.node.op == "call_module":
        return bool(getattr(step.module, "count_include_pad", True))
    return bool(step.value(step.argument(5, "count_include_pad", default=True)))


def _divisor(step: Step) -> int | None:
    """What an average divides by instead of the window's size, if it was told so."""
    if step.node.op == "call_module":
        return getattr(step.module, "divisor_override", None)
    average = step.node.target is functional.avg_pool2d
    divisor: int | None = step.value(step.argument(6, "divisor_override")) if average else None
    return divisor


def _dimensions(step: Step) -> list[int]:
    given = step.value(step.argument(1, "dim"))
    if (
        step.node.op == "call_method"
        and len(step.node.args) > 2
        and all(isinstance(a, int) for a in step.node.args[1:])
    ):
        given = step.node.args[1:]
    return [given] if isinstance(given, int) else list(given if given is not None else range(len(step.shape) + 1))
