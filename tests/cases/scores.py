"""The package's scores in the oracle's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from cases.images import Example
from torch import Tensor, nn

from captum_paramsal.attr import ParameterSaliency


def scores_of(
    model: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    target: Any,
    layers: Any = None,
    extra: Sequence[Any] | None = None,
    **arguments: Any,
) -> dict[str, Tensor]:
    """``{layer: (N, O)}`` from ``ParameterSaliency`` without a reference."""
    saliency = ParameterSaliency(model, layers=layers)
    given = None if extra is None else tuple(extra)
    scores = saliency.attribute(inputs, target=target, additional_forward_args=given, **arguments)
    if isinstance(inputs, tuple):
        assert isinstance(scores, tuple), "a tuple of inputs gives a tuple"
        (scores,) = scores
    assert isinstance(scores, torch.Tensor)
    assert scores.shape[1] == len(saliency.filters)
    return saliency.filters.split(scores)


def scores_of_example(example: Example, **arguments: Any) -> dict[str, Tensor]:
    return scores_of(example.model, example.inputs, example.target, example.select, example.extra or None, **arguments)
