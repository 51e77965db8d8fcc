"""Margins of a model in which filters are set to zero."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_paramsal.batch import ModelInputs, forward_scores, require_finite_scores
from captum_paramsal.errors import ModelError
from captum_paramsal.filters import Filter
from captum_paramsal.functional import log_odds, scores_at
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.profiles.filter_parameters import FilterParameters, ParameterSlice, restored, write


def ablated_margins(
    model: nn.Module,
    parts: Sequence[ModelInputs],
    filters: Sequence[Filter],
    ablated: Tensor,
    *,
    bias: bool = True,
    show_progress: bool = False,
) -> tuple[Tensor, Tensor]:
    """Log odds of each image's class in the model as it is, and with some filters' weights set to zero.

    Args:
        model: A classifier that returns class scores ``(N, C)``; every bit is back afterwards, also after an exception.
        parts: The images of each forward pass.
        filters: Which may be set to zero, F.
        ablated: Which are, in each of P passes over all images, ``(P, F)`` bool.
        bias: Set the filter's entry of its layer's bias to zero too.
        show_progress: Show a progress bar over the ablations.

    Returns:
        ``(N,)`` and ``(P, N)``, in nats.

    Raises:
        InputError: Class scores that are not finite.
        ModelError: The model knows one class only.
        InterventionError: A filter's numbers are computed for each pass, so that they cannot be set to zero.
    """
    slices = FilterParameters(model, bias=bias).every(filters)
    with frozen_eval(model, gradients=False):
        whole = [_scores(model, part, None) for part in parts]
        labels = [own for _, own in whole]
        before = torch.cat([log_odds(scores, own) for scores, own in whole])
        after = [
            _margins_without(model, list(compress(slices, mask)), parts, labels)
            for mask in tqdm(ablated.tolist(), desc="ablations", disable=not show_progress)
        ]
    return before, torch.stack(after) if after else before.new_empty(0, len(before))


def _margins_without(
    model: nn.Module, group: Sequence[Sequence[ParameterSlice]], parts: Sequence[ModelInputs], labels: Sequence[Tensor]
) -> Tensor:
    with restored(group, unnoticed=True):
        for filter_slices in group:
            zeros = [torch.zeros_like(part.of(part.parameter)) for part in filter_slices]
            write(filter_slices, zeros, unnoticed=True)
        return torch.cat([log_odds(*_scores(model, part, own)) for part, own in zip(parts, labels, strict=True)])


def _scores(model: nn.Module, part: ModelInputs, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Class scores of the examples at the place that is explained, and the class; given or as labelled."""
    scores, own = scores_at(require_finite_scores(forward_scores(model, part, binary=True), part.start), part.labels)
    if scores.shape[1] < 2:
        message = (
            f"Expected a model with two classes or more, one of which is ahead of the others, got class scores "
            f"{tuple(scores.shape)}. Give `output=`, a callable that makes a score for each class of what it "
            "returns."
        )
        raise ModelError(message)
    return scores, own if labels is None else labels
