"""The order in which a map ranks pixels, and the confidence that is left while they are exchanged in that order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from captum_paramsal.batch import forward_scores
from captum_paramsal.errors import InputError
from captum_paramsal.functional import scores_at
from captum_paramsal.metrics.maps import per_pixel
from captum_paramsal.metrics.model_state import forward_only
from captum_paramsal.metrics.perturbations import image_generators
from captum_paramsal.metrics.scoring_case import Case

Pictures: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From numbers of images, and of points along their curves, ``(M,)`` each, to pictures ``(M, C, H, W)``."""

Read: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From class scores ``(M, K)`` float64 and targets ``(M,)`` to a number for each picture, ``(M,)`` float64."""


def pixel_ranks(maps: Tensor) -> Tensor:
    """Rank of every pixel, the highest 0; of equally high ones the first in reading order comes first.

    Args:
        maps: ``(N, H, W)``, or ``(N, C, H, W)``, whose signed sum over the channels is taken.

    Returns:
        ``(N, H, W)`` int64.

    >>> pixel_ranks(torch.tensor([[[0.5, 2.0], [0.5, 1.0]]])).tolist()
    [[[2, 0], [3, 1]]]
    """
    values = per_pixel(maps)
    order = values.flatten(1).argsort(dim=1, descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks.scatter_(1, order, torch.arange(order.shape[1]).expand_as(order))
    return ranks.view(values.shape)


def pixel_counts(size: tuple[int, int], steps: int) -> Tensor:
    """How many pixels are exchanged at each of ``steps + 1`` points, ``(steps + 1,)`` int64, as evenly as can be.

    >>> pixel_counts((2, 5), 4).tolist()
    [0, 3, 5, 8, 10]
    """
    return (2 * torch.arange(steps + 1) * size[0] * size[1] + steps) // (2 * steps)


def confidence_along(case: Case, ranks: Tensor, before: Tensor, after: Tensor, counts: Tensor) -> Tensor:
    """Probability of the target while the pixels of one picture take the place of another's.

    Args:
        case: Model and targets.
        ranks: From :func:`pixel_ranks`: the order in which pixels are exchanged. Those of one rank go together.
        before: What is shown at first, ``(N, C, H, W)``.
        after: What is shown at last, the same shape.
        counts: How many ranks are exchanged at each point, ``(P,)``.

    Returns:
        ``(N, P)`` float64 softmax probabilities.

    Raises:
        InputError: A pass on the images fails, or gives scores that are not finite.
    """
    counts, ranks = counts.to(before.device), ranks.to(before.device)

    def pictures(image: Tensor, point: Tensor) -> Tensor:
        exchanged = ranks[image] < counts[point, None, None]
        return torch.where(exchanged[:, None], after[image], before[image])

    return curves_of(case, len(counts), pictures, probability)


def curves_of(case: Case, points: int, pictures: Pictures, read: Read) -> Tensor:
    """What the model makes of pictures of each image, in passes of as many as the case allows.

    Args:
        case: Model and targets.
        points: Pictures of each image, P.
        pictures: Makes some of them.
        read: What is read off the class scores.

    Returns:
        ``(N, P)`` float64.

    Raises:
        InputError: A pass on the images fails, or gives scores that are not finite.
    """
    total = len(case) * points
    size = case.max_examples_per_batch or total
    device = case.batch.inputs[0].device
    parts = []
    with forward_only(case.model):
        for start in range(0, total, size):
            numbers = torch.arange(start, min(start + size, total), device=device)
            image = numbers // points
            parts.append(read(*_scores(case, pictures(image, numbers % points), image)))
    return torch.cat(parts).view(len(case), points)


def probability(scores: Tensor, targets: Tensor) -> Tensor:
    """Softmax probability of the target."""
    return scores.softmax(dim=1).gather(1, targets[:, None]).squeeze(1)


def is_predicted(scores: Tensor, targets: Tensor) -> Tensor:
    """1 where the target has the highest score, else 0."""
    return (scores.argmax(dim=1) == targets).double()


def _scores(case: Case, pictures: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Class scores of pictures made of these images, ``(M, K)`` float64 on the CPU, and their targets."""
    batch = case.batch.chosen(image)
    scores, labels = scores_at(
        forward_scores(case.model, replace(batch, inputs=(pictures,)), binary=True), batch.labels
    )
    if not scores.isfinite().all():
        message = "Expected finite class scores while pixels are exchanged, got NaN or infinity."
        raise InputError(message)
    return scores.cpu().double(), labels.cpu()


def areas_under(curves: Tensor) -> Tensor:
    """Area under curves ``(N, P)`` over evenly spaced points from 0 to 1, by trapezoids, ``(N,)``.

    >>> areas_under(torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.0, 0.0]]))
    tensor([0.5000, 0.2500])
    """
    return torch.trapezoid(curves, dx=1 / (curves.shape[1] - 1), dim=1)


def random_maps(case: Case, seed: int) -> Tensor:
    """A random order of each image's pixels, ``(N, H, W)``, the same whatever else is in the batch."""
    drawn = image_generators(case.images, seed, range(1))
    return torch.stack([torch.rand(case.size, generator=next(generators)) for generators in drawn])
