"""Convolutions over maps of one to three dimensions, and transposed ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from captum_paramsal.functional.convolution import padding_per_dimension, per_dimension
from captum_paramsal.functional.receptive_fields import (
    FEW,
    Window,
    distinct,
    largest_norms,
    largest_supports,
    of_flat_map,
    pieces,
    supports,
)
from captum_paramsal.graph.registry import trace_rule
from captum_paramsal.graph.rule import Found, TraceRule
from captum_paramsal.graph.selecting import Candidates, select
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step


@dataclass(frozen=True)
class _Filters:
    """A convolution's weight ``(O, K, C / groups)``, how it moves, and its groups."""

    weight: Tensor
    window: Window
    groups: int

    @classmethod
    def of(cls, step: Step) -> _Filters:
        filters: _Filters = step.run.once(step.node, lambda: cls._read(step))
        return filters

    @classmethod
    def _read(cls, step: Step) -> _Filters:
        weight = step.value(step.argument(1, "weight"))
        stride, padding, dilation, groups = (
            step.value(step.argument(place, name, default))
            for place, name, default in ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1), (6, "groups", 1))
        )
        kernel = tuple(weight.shape[2:])
        dilation = per_dimension(dilation, len(kernel))
        around = padding_per_dimension(padding, kernel, dilation)
        window = Window(kernel, per_dimension(stride, len(kernel)), around, dilation)
        return cls(weight.flatten(2).transpose(1, 2).contiguous(), window, groups)

    @property
    def width(self) -> int:
        """Channels that each filter sees."""
        return self.weight.shape[2]


@dataclass(frozen=True)
class _Asked:
    """Neurons of a convolution.

    Attributes:
        row: Row of the first dimension, ``(M,)``.
        output: Filter of each, ``(M,)``.
        place: Place in the flattened output map, ``(M,)``.
        sizes: Of the output map.
    """

    row: Tensor
    output: Tensor
    place: Tensor
    sizes: Sequence[int]

    @classmethod
    def of(cls, step: Step, sites: Sites) -> _Asked:
        _, outputs, *sizes = step.shape
        channel, places = sites.index // prod(sizes), prod(sizes)
        return cls(channel // outputs, channel % outputs, sites.index % places, sizes)

    def group(self, filters: _Filters) -> Tensor:
        """Group of the filter of each, ``(M,)``."""
        return self.output // (len(filters.weight) // filters.groups)

    def places(self) -> tuple[tuple[Tensor, ...], Tensor]:
        """Rows and places without repetition, and which of these each neuron has."""
        return distinct(self.row, (self.place, prod(self.sizes)))


@trace_rule(functional.conv1d, functional.conv2d, functional.conv3d)
class Convolution(TraceRule):
    """Input channels compete for each neuron, at the centre of its receptive field."""

    has_weights = True

    def back(self, step: Step, sites: Sites) -> Found:
        """The channels with the largest positive Ω."""
        filters, maps = _Filters.of(step), step.maps
        asked, sizes = _Asked.of(step, sites), maps.shape[2:]
        current = _current(maps, filters, asked) * sites.gain[:, None]
        first = asked.row * maps.shape[1]
        if filters.groups > 1:
            first = first + asked.group(filters) * filters.width
        first = first * prod(sizes) + _centres(step, filters.window, asked)
        depthwise = filters.groups > 1 and filters.width == 1
        candidates = Candidates(current, first, prod(sizes), step.settings.top_k, only_way=depthwise)
        return [(step.source, select(step, step.source, sites, candidates))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The largest contribution of an input channel."""
        negative = sites.gain < 0
        if not negative.any():
            return sites.gain * self._support(step, sites, 1)
        # The smallest contribution is the largest one of the opposite filters.
        supports = torch.empty_like(sites.gain)
        for rows, sign in ((~negative, 1), (negative, -1)):
            supports[rows] = self._support(step, sites[rows], sign)
        return sites.gain.abs() * supports

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """The largest norm of a channel's field times that of a filter's channel (Cauchy and Schwarz)."""
        filters, maps = _Filters.of(step), step.maps
        asked = _Asked.of(step, sites)
        if filters.groups > 1:
            return super().limit(step, sites)
        (row, place), owner = asked.places()
        fields = filters.window.fields(maps, row, place, asked.sizes)
        reach = largest_norms(fields)[owner] * largest_norms(filters.weight)[asked.output]
        return sites.gain.abs() * reach

    def _support(self, step: Step, sites: Sites, sign: int) -> Tensor:
        filters, maps = _Filters.of(step), step.maps
        asked = _Asked.of(step, sites)
        (row, place), owner = asked.places()
        if filters.groups > 1 or len(sites) * FEW < len(row) * len(filters.weight):
            return (sign * _current(maps, filters, asked)).amax(dim=1)
        window, weight = filters.window, sign * filters.weight
        supports = [
            largest_supports(window.fields(maps, row[part], place[part], asked.sizes), weight)
            for part in pieces(len(row), weight[0].numel())
        ]
        return torch.cat(supports)[owner, asked.output] if supports else sites.gain


@trace_rule(functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
class TransposedConvolution(TraceRule):
    """Input channels compete for each neuron, at the nearest of the places that reach it."""

    has_weights = True

    def back(self, step: Step, sites: Sites) -> Found:
        """The channels with the largest positive Ω."""
        current, first, places = self._contributions(step, sites)
        candidates = Candidates(current * sites.gain[:, None], first, places, step.settings.top_k)
        return [(step.source, select(step, step.source, sites, candidates))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The largest contribution of an input channel."""
        return (self._contributions(step, sites)[0] * sites.gain[:, None]).amax(dim=1)

    def _contributions(self, step: Step, sites: Sites) -> tuple[Tensor, Tensor, int]:
        """What every input channel of its group contributes ``(M, C)``, index of the first, and places of a map."""
        maps, weight = step.maps, step.value(step.argument(1, "weight"))
        kernel, sizes = tuple(weight.shape[2:]), maps.shape[2:]
        stride, padding, groups, dilation = (
            step.value(step.argument(place, name, default))
            for place, name, default in ((3, "stride", 1), (4, "padding", 0), (6, "groups", 1), (7, "dilation", 1))
        )
        row, output, *place = torch.unravel_index(sites.index, step.shape)
        channels = maps.shape[1] // groups
        group, inner = output // weight.shape[1], output % weight.shape[1]
        movement = [per_dimension(setting, len(kernel)) for setting in (kernel, stride, padding, dilation)]
        taps, inside, nearest = reaching(place, sizes, movement)
        channel = group[:, None] * channels + torch.arange(channels, device=group.device)
        seen = maps.flatten(2)[row[:, None, None], channel[:, :, None], taps[:, None]] * inside[:, None]
        factors = weight.flatten(2)[channel, inner[:, None]]
        first = (row * maps.shape[1] + group * channels) * prod(sizes) + nearest
        return (seen * factors).sum(dim=2), first, prod(sizes)


def reaching(
    place: Sequence[Tensor], sizes: Sequence[int], movement: Sequence[tuple[int, ...]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Input places that each tap of a transposed convolution, or window of a sum of windows, brings to its outputs.

    Args:
        place: Places of the outputs, one ``(M,)`` for each dimension.
        sizes: Of the input map.
        movement: Kernel, stride, padding and dilation, a number for each dimension.

    Returns:
        The places ``(M, K)``, which of them there are, and the nearest one ``(M,)``, all in the flattened map.
    """
    taps, inside, nearest = [], [], torch.zeros_like(place[0])
    for at, size, width, step, around, apart in zip(place, sizes, *movement, strict=True):
        reached = at[:, None] + around - apart * torch.arange(width, device=at.device)
        inside.append((reached % step == 0) & (reached >= 0) & (reached < size * step))
        taps.append(reached.div(step, rounding_mode="floor").clamp(0, size - 1))
        middle = (at + around - apart * (width - 1) // 2).div(step, rounding_mode="floor").clamp(0, size - 1)
        nearest = nearest * size + middle
    return *of_flat_map(taps, inside, sizes), nearest


def _centres(step: Step, window: Window, asked: _Asked) -> Tensor:
    """Centre of each neuron's receptive field in the flattened input map, ``(M,)``."""
    sizes = step.maps.shape[2:]
    if window.is_pointwise and step.source.target is not functional.pad:
        return asked.place
    centres = torch.zeros_like(asked.place)
    places = torch.unravel_index(asked.place, tuple(asked.sizes))
    for dimension, (place, size, ends) in enumerate(zip(places, sizes, _inside(step, sizes), strict=True)):
        centres = centres * size + window.centre(place, dimension, size).clamp(*ends)
    return centres


def _inside(step: Step, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """First and last place in each dimension that no padding before the convolution has added."""
    added = [0] * (2 * len(sizes))
    if step.source.target is functional.pad:
        given = list(step.source.args[1])[: len(added)]  # type: ignore[arg-type] # numbers
        added[: len(given)] = [max(0, side) for side in given]
    before, after = added[-2::-2], added[::-2]
    return [(low, size - 1 - high) for size, low, high in zip(sizes, before, after, strict=True)]


def _current(maps: Tensor, filters: _Filters, asked: _Asked) -> Tensor:
    """What every input channel of its group contributes to each neuron, ``(M, C / groups)``."""
    if filters.groups == 1:
        (row, place), owner = asked.places()
        return supports(filters.window.fields(maps, row, place, asked.sizes), owner, filters.weight, asked.output)
    channels = asked.group(filters)[:, None] * filters.width + torch.arange(filters.width, device=maps.device)
    fields = filters.window.fields(maps, asked.row, asked.place, asked.sizes, channels)
    return supports(fields, torch.arange(len(fields), device=fields.device), filters.weight, asked.output)
