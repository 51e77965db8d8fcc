"""Linear layers whose features are the class scores: each score depends on the feature of its number alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from captum_paramsal.hooks.filter_layer import FilterLayer
from captum_paramsal.hooks.functions import FunctionCall
from captum_paramsal.hooks.graph_start import start_graph

_LOOKED_AT = 8
"""Classes that are looked at, evenly spread."""


def class_score_linears(layers: Sequence[FilterLayer], forward: Callable[[], Tensor]) -> frozenset[str]:
    """Names of those layers whose features are the class scores, directly or averaged over places.

    Args:
        layers: Linear layers.
        forward: Runs the model and returns class scores ``(N, C)`` or ``(N, C, ...)``.
    """
    watch = _Outputs({id(layer.weights[0]): layer.name for layer in layers})
    with watch:
        scores = forward()
    if scores.ndim < 2 or not scores.requires_grad:
        # Nothing to differentiate; a model without gradients is refused where they are taken.
        return frozenset(layer.name for layer in layers)
    return frozenset(name for name, outputs in watch.outputs.items() if _kept_apart(scores, outputs))


def _kept_apart(scores: Tensor, outputs: list[Tensor]) -> bool:
    per_class = scores.sum(dim=0)
    per_class = per_class.flatten(1).sum(dim=1) if per_class.ndim > 1 else per_class
    count = len(per_class)
    alone = 0
    for place in range(0, count, -(-count // _LOOKED_AT)):
        gradients = torch.autograd.grad(per_class[place], outputs, retain_graph=True, allow_unused=True)
        reached = [one.flatten(0, -2).abs().sum(dim=0) for one in gradients if one is not None]
        strength = torch.stack(reached).sum(dim=0) if reached else per_class.new_zeros(count)
        if len(strength) != count or strength.count_nonzero() > int(strength[place] != 0):
            return False
        # A score that its feature does not reach, such as behind a ReLU, says nothing.
        alone += int(strength[place] != 0)
    return alone > 0


class _Outputs(TorchFunctionMode):
    """What the functions that multiply by some weights return, as the start of a graph."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self._names = names
        self._anchor = torch.zeros((), requires_grad=True)
        self.outputs: dict[str, list[Tensor]] = defaultdict(list)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        call = FunctionCall.of(func, args, kwargs or {})
        name = None if call is None else self._names.get(id(call.weight))
        if name is None:
            return result
        started = start_graph(result, self._anchor)
        self.outputs[name].append(started)
        # What follows may write over it in place.
        return started.clone()
