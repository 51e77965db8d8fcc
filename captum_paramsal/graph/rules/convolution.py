"""Convolutions over maps of two dimensions, as modules and as functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_paramsal.errors import TraceError
from captum_paramsal.functional.receptive_fields import (
    FEW,
    Window,
    distinct,
    largest_norms,
    largest_supports,
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
    """A convolution's weight ``(O, C / groups, K)``, how it moves, and its groups."""

    weight: Tensor
    window: Window
    groups: int

    @classmethod
    def of(cls, step: Step) -> _Filters:
        if step.node.op == "call_module":
            module: Any = step.module
            weight, stride, padding = module.weight, module.stride, module.padding
            dilation, groups, mode = module.dilation, module.groups, module.padding_mode
        else:
            names = {1: "weight", 3: "stride", 4: "padding", 5: "dilation", 6: "groups"}
            default = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
            weight, stride, padding, dilation, groups = (
                step.value(step.argument(place, name, default.get(name))) for place, name in names.items()
            )
            mode = "zeros"
        if weight.ndim != 4:
            message = f"Expected maps of two dimensions, got '{step.node}' with a weight {tuple(weight.shape)}."
            raise TraceError(message)
        kernel, dilation = pair(weight.shape[2:]), pair(dilation)
        around = _padding(padding, kernel, dilation)
        window = Window(kernel, pair(stride), around, dilation, "constant" if mode == "zeros" else mode)
        return cls(weight.detach().flatten(2), window, groups)


@dataclass(frozen=True)
class _Asked:
    """Neurons of a convolution: their images, filters, groups and places."""

    image: Tensor
    output: Tensor
    group: Tensor
    row: Tensor
    column: Tensor

    @classmethod
    def of(cls, step: Step, sites: Sites, filters: _Filters) -> _Asked:
        output, row, column = places_of(sites.index, step.shape)
        return cls(sites.image, output, output // (len(filters.weight) // filters.groups), row, column)


@trace_rule(nn.Conv2d, functional.conv2d)
class Convolution(TraceRule):
    """Input channels compete for each neuron, at the centre of its receptive field."""

    has_weights = True

    def back(self, step: Step, sites: Sites) -> Found:
        """The channels with the largest positive Ω."""
        filters, maps = _Filters.of(step), step.run.values[step.source]
        asked, (height, width) = _Asked.of(step, sites, filters), maps.shape[2:]
        current = _current(maps, filters, asked) * sites.gain[:, None]
        row, column = filters.window.centre(asked.row, 0, height), filters.window.centre(asked.column, 1, width)
        first = asked.group * filters.weight.shape[1] * height * width + row * width + column
        candidates = Candidates(current, first, height * width, step.settings.top_k)
        return [(step.source, select(step, step.source, sites, candidates))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The largest contribution of an input channel."""
        negative = sites.gain < 0
        if not negative.any():
            return sites.gain * self._support(step, sites, 1)
        # The smallest contribution is the largest one of the opposite filters.
        found = torch.empty_like(sites.gain)
        for rows, sign in ((~negative, 1), (negative, -1)):
            found[rows] = self._support(step, sites[rows], sign)
        return sites.gain.abs() * found

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """The largest norm of a channel's field times that of a filter's channel (Cauchy and Schwarz)."""
        filters, maps = _Filters.of(step), step.run.values[step.source]
        asked = _Asked.of(step, sites, filters)
        if filters.groups > 1:
            return super().limit(step, sites)
        (image, row, column), owner = distinct(asked.image, asked.row, asked.column)
        fields = filters.window.over(maps)[image, :, row, column].flatten(2)
        reach = largest_norms(fields)[owner] * largest_norms(filters.weight)[asked.output]
        return sites.gain.abs() * reach

    def _support(self, step: Step, sites: Sites, sign: int) -> Tensor:
        filters, maps = _Filters.of(step), step.run.values[step.source]
        asked = _Asked.of(step, sites, filters)
        (image, y, x), owner = distinct(asked.image, asked.row, asked.column)
        if filters.groups > 1 or len(sites) * FEW < len(image) * len(filters.weight):
            return (sign * _current(maps, filters, asked)).amax(dim=1)
        fields, weight = filters.window.over(maps), sign * filters.weight
        found = [
            largest_supports(fields[image[part], :, y[part], x[part]].flatten(2), weight)
            for part in pieces(len(image), weight[0].numel())
        ]
        return torch.cat(found)[owner, asked.output] if found else sites.gain


def _current(maps: Tensor, filters: _Filters, asked: _Asked) -> Tensor:
    """What every input channel of its group contributes to each neuron, ``(M, C / groups)``."""
    fields, width = filters.window.over(maps), filters.weight.shape[1]
    if filters.groups == 1:
        (image, row, column), owner = distinct(asked.image, asked.row, asked.column)
        return supports(fields[image, :, row, column].flatten(2), owner, filters.weight, asked.output)
    channels = asked.group[:, None] * width + torch.arange(width, device=asked.group.device)
    seen = fields[asked.image[:, None], channels, asked.row[:, None], asked.column[:, None]].flatten(2)
    return supports(seen, torch.arange(len(seen), device=seen.device), filters.weight, asked.output)


def places_of(index: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor, Tensor]:
    """Channel, row and column of neurons in a map ``(C, H, W)``."""
    _, height, width = shape
    return index // (height * width), index // width % height, index % width


def pair(value: Any) -> tuple[int, int]:
    """One number for both dimensions, or one for each."""
    if isinstance(value, int):
        return value, value
    first, *others = value
    return first, others[0] if others else first


def _padding(padding: Any, kernel: Any, dilation: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)
    rows, columns = pair(padding)
    return (rows, rows), (columns, columns)
