"""What is unusual about a filter by itself: its size among its peers, and its output before a batch norm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_DEAD = 1e-12
"""Sizes below this count as this, so that a filter of zeros is far off and not infinitely far."""


def peer_deviation(sizes: Tensor, counts: Sequence[int]) -> Tensor:
    """How far each filter's size is from that of its layer's median filter, in median deviations.

    ``|log s - median log s| / median |log s - median log s|`` over the filters of a layer: sizes are compared by their
    ratio. 0 in a layer in which more than half of the filters have one size.

    Args:
        sizes: Such as norms of the weights, ``(F,)``, at least 0.
        counts: Filters of each layer, F in all.

    Returns:
        ``(F,)`` float64.

    >>> peer_deviation(torch.tensor([1.0, 2.0, 4.0, 8.0, 0.0]), [5]).argmax().item()
    4
    """
    parts = []
    for part in sizes.double().split(list(counts)):
        logarithms = part.clamp(min=_DEAD).log()
        distance = (logarithms - logarithms.quantile(0.5)).abs()
        usual = distance.quantile(0.5)
        parts.append(distance / usual if usual else torch.zeros_like(distance))
    return torch.cat(parts)


def statistics_drift(mean: Tensor, variance: Tensor, kept_mean: Tensor, kept_variance: Tensor) -> Tensor:
    """How far a filter's output is from what the batch norm behind it was trained with.

    The Kullback-Leibler divergence between normal distributions, in nats:
    ``(v / v₀ + (m - m₀)² / v₀ - 1 - log(v / v₀)) / 2``. 0 where the statistics are those that the norm keeps.

    Args:
        mean: Of the output now, ``(F,)``.
        variance: Of the output now, with the norm's epsilon.
        kept_mean: That the norm keeps.
        kept_variance: That the norm keeps, with its epsilon.

    >>> one, zero = torch.ones(1), torch.zeros(1)
    >>> statistics_drift(zero, one, zero, one), statistics_drift(one, one, zero, one)
    (tensor([0.]), tensor([0.5000]))
    """
    ratio = variance / kept_variance
    return (ratio + (mean - kept_mean).square() / kept_variance - 1 - ratio.log()) / 2
