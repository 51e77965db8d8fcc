"""The straight line between the weights of two checkpoints, and what each part of a network adds to the loss on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from captum_paramsal.batch import ModelInputs, forward_scores, require_gradient
from captum_paramsal.errors import ModelError
from captum_paramsal.functional import (
    Loss,
    excess_change,
    path_shares,
    scores_at,
    statistics_gradients,
    statistics_shift,
)
from captum_paramsal.hooks import FilterLayer, frozen_eval, has_rule

_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class LineShares:
    """What the parts of a network add to the difference of a loss between two checkpoints.

    Attributes:
        filters: ``(F,)``.
        norms: Weights and running statistics of each norm, ``(2, K)``; 0 for what a norm does not have.
        others: All other parameters together, 0-d.
    """

    filters: Tensor
    norms: Tensor
    others: Tensor


class WeightLine:
    """The straight line between two checkpoints of one architecture.

    Args:
        a: One checkpoint.
        b: The other.
    """

    def __init__(self, a: nn.Module, b: nn.Module) -> None:
        self._between = deepcopy(a)
        self._before, self._after = (_tensors(model) for model in (a, b))
        self._names = {id(parameter): name for name, parameter in a.named_parameters()}
        self._norms: Mapping[str, Any] = dict(_norms(self._between))
        for norm in self._norms.values():
            if _has_statistics(norm):
                _with_parameters(norm)

    @property
    def norms(self) -> tuple[str, ...]:
        """Names of the layers that normalize."""
        return tuple(self._norms)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of the buffers that differ and have no share of their own, since nothing takes their gradient."""
        statistics = {f"{name}.{part}" for name, norm in self._norms.items() for part in _STATISTICS}
        followed = statistics | dict(self._between.named_parameters(remove_duplicate=False)).keys()
        return tuple(
            name
            for name, before in self._before.items()
            if name not in followed
            and before.is_floating_point()
            and not before.detach().equal(self._after[name].detach().to(before.device))
        )

    def change(self, layers: Sequence[FilterLayer]) -> Tensor:
        """How unusually far each filter moved, ``(F,)``."""
        changes = []
        for layer in layers:
            weights = self._weights(layer)
            both = [
                _rows(layer, [tensors[name].detach().cpu().double() for name in weights])
                for tensors in (self._before, self._after)
            ]
            filters = [_joined(layer, rows) for rows in both]
            changes.append(excess_change(*filters))
        return torch.cat(changes)

    def statistics_shifts(self) -> Tensor:
        """How far the running statistics of each norm moved, ``(K,)``; NaN for a norm without any."""
        shifts = torch.full((len(self._norms),), torch.nan, dtype=torch.float64)
        for place, (name, norm) in enumerate(self._norms.items()):
            if _has_statistics(norm):
                before, after = (
                    [tensors[f"{name}.{part}"].detach().cpu().double() for part in _STATISTICS]
                    for tensors in (self._before, self._after)
                )
                shifts[place] = statistics_shift(before, after, norm.eps)
        return shifts

    def shares(self, layers: Sequence[FilterLayer], parts: Sequence[ModelInputs], loss: Loss, steps: int) -> LineShares:
        """Shares in the difference of the mean loss over some images."""
        between = dict(self._between.named_parameters())
        of_statistics = {name: norm for name, norm in self._norms.items() if _has_statistics(norm)}

        def gradients(place: float) -> list[Tensor]:
            self._go_to(place)
            of_parameters = dict(zip(between, self._gradients([*between.values()], parts, loss), strict=True))
            return [*of_parameters.values(), *_of_statistics(of_statistics, of_parameters)]

        names = [*between, *(f"{name}.{part}" for name in of_statistics for part in _STATISTICS)]
        changes = [self._change(name, between) for name in names]
        products = dict(zip(names, path_shares(gradients, changes, steps), strict=True))
        filters = torch.cat(
            [
                _joined(layer, _rows(layer, [products[name].detach().cpu().double() for name in self._weights(layer)]))
                .sum(dim=1)
                for layer in layers
            ]
        )  # fmt: skip
        sums = {name: product.detach().cpu().double().sum() for name, product in products.items()}
        norms = torch.zeros(2, len(self._norms), dtype=torch.float64)
        for place, (name, norm) in enumerate(self._norms.items()):
            # Weights that several norms share are counted with the first.
            parts_of_norm = [f"{name}.{part}" for part, _ in norm.named_parameters(recurse=False)]
            norms[0, place] = sum(sums.pop(part) for part in parts_of_norm if part in sums)
            if name in of_statistics:
                norms[1, place] = sum(sums.pop(f"{name}.{part}") for part in _STATISTICS)
        scored = {name for layer in layers for name in self._weights(layer)}
        left = [total for name, total in sums.items() if name not in scored]
        # What a layer has of its weights beside its filters, such as the projections of attention behind its heads.
        beside = sum(sums[name] for name in scored) - filters.sum()
        return LineShares(filters, norms, torch.stack([beside, *left]).sum())

    def _gradients(self, weights: Sequence[Tensor], parts: Sequence[ModelInputs], loss: Loss) -> list[Tensor]:
        """Of the mean loss, where the line is now."""
        sums = [torch.zeros_like(weight) for weight in weights]
        count = sum(map(len, parts))
        with frozen_eval(self._between, weights):
            for part in parts:
                given = require_gradient(forward_scores(self._between, part, binary=True))
                scores, labels = scores_at(given, part.labels)
                total = loss(scores, labels).sum() / count
                for sum_, gradient in zip(sums, torch.autograd.grad(total, weights, allow_unused=True), strict=True):
                    if gradient is not None:
                        sum_.add_(gradient)
        return sums

    def _weights(self, layer: FilterLayer) -> list[str]:
        names = [self._names.get(id(weight), "") for weight in layer.rule.weights(layer.module)]
        if not all(names):
            message = (
                f"Expected weights that are parameters, got some of {layer.name!r} that are computed for each pass."
            )
            raise ModelError(message)
        return names

    def _change(self, name: str, between: Mapping[str, Tensor]) -> Tensor:
        # A norm without a weight and a bias was given ones and zeros, which stay.
        if name not in self._before:
            return torch.zeros_like(between[name])
        return (self._after[name] - self._before[name]).detach()

    def _go_to(self, place: float) -> None:
        with torch.no_grad():
            for name, tensor in _tensors(self._between).items():
                if tensor.is_floating_point() and name in self._before:
                    tensor.copy_(torch.lerp(self._before[name], self._after[name].to(tensor.device), place))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers under each of their names."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def _norms(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers with weights or statistics of their own that are called norms, and are no filter layers."""
    for name, module in model.named_modules():
        named = any("Norm" in kind for kind in _kinds(module))
        if (
            named
            and not has_rule(module)
            and (_has_statistics(module) or next(module.parameters(recurse=False), None) is not None)
        ):
            yield name, module


def _has_statistics(norm: nn.Module) -> bool:
    """Whether it keeps statistics, and uses them as the equation has it from which their gradients follow."""
    known = isinstance(norm, _NormBase) or "FrozenBatchNorm2d" in _kinds(norm)
    return known and all(isinstance(getattr(norm, part, None), Tensor) for part in _STATISTICS)


def _kinds(module: nn.Module) -> list[str]:
    return [kind.__name__ for kind in type(module).__mro__]


def _with_parameters(norm: Any) -> None:
    """A weight and a bias of the norm's own, from whose gradients those of its statistics follow."""
    mean = norm.running_mean
    for part, start in (("weight", torch.ones_like), ("bias", torch.zeros_like)):
        kept = getattr(norm, part, None)
        setattr(norm, part, nn.Parameter(start(mean) if kept is None else kept.detach().clone()))


def _of_statistics(norms: Mapping[str, Any], gradients: Mapping[str, Tensor]) -> Iterator[Tensor]:
    for name, norm in norms.items():
        of_weight, of_bias = (gradients[f"{name}.{part}"] for part in ("weight", "bias"))
        yield from statistics_gradients(norm.weight.detach(), norm.running_var, norm.eps, of_weight, of_bias)


def _rows(layer: FilterLayer, tensors: Sequence[Tensor]) -> Tensor:
    """Numbers shaped like the layer's weights, by row, ``(R, M)``."""
    return layer.rule.slices(layer.module, tuple(tensor[None] for tensor in tensors)).sample(0)


def _joined(layer: FilterLayer, rows: Tensor) -> Tensor:
    """The rows of each head in one, ``(F, M)``; other filters are rows."""
    return torch.stack([rows[part].flatten() for part in layer.heads.values()]) if layer.heads else rows
