"""Saliency profiles: from weight gradients to one score per filter."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_paramsal.filters import FilterIndex

SAME = 1e-6
"""Values that are apart by less than this share are one, which occurs several times, but for rounding."""


def accumulation_type(dtype: torch.dtype) -> torch.dtype:
    """Type in which absolute gradients are summed: float32 for half precision, the type itself otherwise."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def mean_abs(gradients: Tensor) -> Tensor:
    """Saliency profile of filters whose weight gradients are given.

    ``s[j] = mean over the weights of filter j of |gradient|``: the absolute value first, then the mean.

    Args:
        gradients: ``(..., F, M)``, M weights per filter.

    Returns:
        ``(..., F)``; float32 for half precision.

    References:
        Levin et al., *Where do Models go Wrong?*, arXiv 2108.01335, section 3; Wang and Sato, arXiv 2310.17951, eq. 1.

    >>> mean_abs(torch.tensor([[1.0, -3.0]]))
    tensor([2.])
    """
    return gradients.abs().mean(dim=-1, dtype=accumulation_type(gradients.dtype))


def mean_abs_(gradients: Tensor) -> Tensor:
    """:func:`mean_abs` that writes the absolute values over ``gradients``, unless those are part of a graph."""
    if gradients.requires_grad:
        return mean_abs(gradients)
    return gradients.abs_().mean(dim=-1, dtype=accumulation_type(gradients.dtype))


def varies(mean: Tensor, std: Tensor) -> Tensor:
    """Which filters have different values in a reference set, by more than rounding, ``(F,)`` bool.

    >>> varies(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.1, 1e-8, 0.0])).tolist()
    [True, False, False]
    """
    return std > SAME * mean.abs()


def standardize(profile: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """How far a profile lies from a reference set, in its standard deviations.

    ``z[n, j] = (s[n, j] - mean[j]) / std[j]``. A dead filter, one with ``std[j] = 0``, or below a millionth of the
    mean, which is rounding, has no such distance: it gets the lowest z-score of the image's other filters, so that no
    ranking puts it first (0 if every filter is dead).

    Args:
        profile: ``(N, F)``.
        mean: Mean of each filter over the reference set, ``(F,)``.
        std: Standard deviation of each filter over the reference set, ``(F,)``.

    Returns:
        ``(N, F)``, in the type of ``profile``.

    References:
        Levin et al., arXiv 2108.01335, section 3.1 (there, a tiny deviation is replaced by 1).

    >>> standardize(torch.tensor([[3.0, 5.0, 0.0]]), torch.tensor([1.0, 6.0, 0.0]), torch.tensor([1.0, 2.0, 0.0]))
    tensor([[ 2.0000, -0.5000, -0.5000]])
    """
    dead = ~varies(mean, std)
    scores = (profile - mean) / torch.where(dead, 1.0, std)
    if dead.any():
        lowest = scores.masked_fill(dead, torch.inf).amin(dim=1, keepdim=True)
        scores = torch.where(dead, lowest.masked_fill(lowest.isinf(), 0.0), scores)
    return scores.to(profile.dtype)


def cosine(rows: Tensor, others: Tensor) -> Tensor:
    """Cosine similarity of rows, whatever their lengths: tiny ones are as good as any; 0 for a row of zeros.

    Args:
        rows: ``(N, F)``.
        others: ``(N, F)``, or ``(1, F)`` for all.

    Returns:
        ``(N,)``, differentiable.

    >>> cosine(torch.tensor([[3e-30, 4e-30], [3e30, 0.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.6000, 1.0000])
    """
    # The function of PyTorch takes lengths below 1e-8 as that. Powers of two change no digit.
    return torch.nn.functional.cosine_similarity(_near_one(rows), _near_one(others), dim=1)


def _near_one(rows: Tensor) -> Tensor:
    """Each row over the power of two that its largest number is 1 to 2 times."""
    if not rows.shape[1]:
        return rows
    largest = rows.detach().abs().amax(dim=1, keepdim=True)
    power = largest / (2 * torch.frexp(largest).mantissa)
    return rows / power.where(largest > 0, 1.0)


def boosted_similarity(scores: Tensor, top_k: int, boost: float) -> Tensor:
    """Cosine similarity of scores with a fixed copy of them in which the highest are boosted.

    Its gradient says what would make those filters stand out more; zero where no other filter has a score.

    Args:
        scores: ``(N, F)``.
        top_k: Highest scores, in their signed order, that are boosted.
        boost: What those are multiplied by.

    Returns:
        ``(N,)``, differentiable in ``scores``.

    References:
        Levin et al., arXiv 2108.01335, section 3.3.

    >>> boosted_similarity(torch.tensor([[3.0, 4.0]]), top_k=1, boost=100.0)
    tensor([0.8045])
    """
    fixed = scores.detach()
    top = fixed.topk(top_k, dim=1).indices
    boosted = fixed.scatter(1, top, fixed.gather(1, top) * boost)
    similarity = cosine(scores, boosted)
    # Where nothing but the highest is there, scores and copy are parallel and no change brings them closer: the
    # gradient is zero, not what rounding leaves of it.
    others = fixed.scatter(1, top, 0.0).any(dim=1)
    return torch.where(others, similarity, similarity.detach())


def profile_curve(scores: Tensor, filters: FilterIndex) -> tuple[Tensor, Tensor]:
    """The papers' way to draw a profile: each layer sorted, layers shallow to deep, equal width for each.

    Args:
        scores: ``(F,)`` or ``(N, F)``.
        filters: What the scores belong to.

    Returns:
        Places on the horizontal axis, ``(F,)``, layer l filling the interval [l, l + 1), and the scores in that order,
        shaped like ``scores``.

    References:
        Levin et al., arXiv 2108.01335, figure 1.

    >>> x, y = profile_curve(torch.tensor([1.0, 2.0, 7.0]), FilterIndex({"conv1": 2, "conv2": 1}))
    >>> x.tolist(), y.tolist()
    ([0.25, 0.75, 1.5], [2.0, 1.0, 7.0])
    """
    parts = filters.split(scores)
    places = [place + (torch.arange(count) + 0.5) / count for place, count in enumerate(filters.counts.values())]
    heights = [part.sort(dim=-1, descending=True).values for part in parts.values()]
    return torch.cat(places), torch.cat(heights, dim=-1)
