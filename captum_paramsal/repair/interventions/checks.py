"""What interventions are asked for, checked: mistakes that are mistakes, and filters from a ranking."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Given, ModelInputs, forward_scores, require_finite_scores
from captum_paramsal.errors import InputError, InterventionError, LayerError
from captum_paramsal.filters import Filter, FilterIndex
from captum_paramsal.functional import scores_at, tensor_of
from captum_paramsal.hooks import frozen_eval

DEFAULT_BATCH_SIZE = 16
"""Images in one pass."""


def class_scores(model: nn.Module, batch: ModelInputs) -> tuple[Tensor, Tensor]:
    """Class scores ``(N, C)`` and labels ``(N,)`` of images.

    Raises:
        InputError: There are no labels, the model cannot take the images, or its scores are not finite.
    """
    rows = label_rows(batch)
    parts = [batch.part(start, DEFAULT_BATCH_SIZE) for start in range(0, len(batch), DEFAULT_BATCH_SIZE)]
    with frozen_eval(model, gradients=False):
        output = torch.cat([forward_scores(model, part, binary=True) for part in parts])
    scores, labels = scores_at(output, rows)
    return require_finite_scores(scores), labels


def label_rows(batch: ModelInputs) -> Tensor:
    """Labels of images, ``(N, D)``: class, then place where the model has scores per place.

    Raises:
        InputError: There are none.
    """
    if batch.labels is None:
        message = "Expected `labels`, the true class of each image, got None."
        raise InputError(message)
    return batch.labels


def columns_of(filters: FilterIndex, patterns: Sequence[str]) -> list[int]:
    """Columns of the scores of some layers, by names or glob patterns.

    Raises:
        InterventionError: A pattern matches no layer.
    """
    try:
        return filters.columns(*patterns)
    except LayerError as error:
        raise InterventionError(str(error)) from error


def require_mistakes(scores: Tensor, labels: Tensor, advice: str) -> None:
    """Make sure that all images are mistakes.

    Args:
        scores: ``(N, C)``.
        labels: True classes, ``(N,)``.
        advice: What to do with the others, in a sentence or two.

    Raises:
        InterventionError: An image is classified correctly.
    """
    right = (scores.argmax(dim=1) == labels).nonzero()[:, 0].tolist()
    if right:
        message = (
            f"Expected mistakes, got {len(right)} images that the model gets right, the first of them number "
            f"{right[0]}. {advice}"
        )
        raise InterventionError(message)


def top_filters(ranking: Given, filters: FilterIndex, k: int, count: int) -> list[list[Filter]]:
    """The k first filters of each of so many images.

    Raises:
        InterventionError: ``k`` is not from 1 to the number of filters.
        InputError: ``ranking`` has another shape, or NaN.
    """
    ranking = tensor_of(ranking)
    if not isinstance(ranking, Tensor) or ranking.shape not in ((len(filters),), (count, len(filters))):
        got = tuple(ranking.shape) if isinstance(ranking, Tensor) else type(ranking).__name__
        message = f"Expected `ranking` of shape ({count}, {len(filters)}) or ({len(filters)},), got {got}."
        raise InputError(message)
    if not 1 <= k <= len(filters):
        message = f"Expected `k` from 1 to {len(filters)}, the number of filters, got {k}."
        raise InterventionError(message)
    return filters.top(ranking.expand(count, -1), k)
