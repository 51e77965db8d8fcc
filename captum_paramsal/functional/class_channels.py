"""Which channels a class relies on: noise at a layer, and what is read off the correlation of classes and channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammaln
from torch import Tensor

Noise = Literal["uniform", "normal"]

EPSILON = 1e-5
"""What the smallest and the largest correlation of a class are taken further apart when they are brought to [0, 1]."""


def disturbances(count: int, shape: Sequence[int], size: float, kind: Noise = "uniform", seed: int = 0) -> Tensor:
    """Noise for a layer's maps, the same for every image.

    Args:
        count: Copies, J.
        shape: Shape of one image's maps, such as (K, H, W).
        size: Bound of the uniform noise on [-size, size], or standard deviation of the normal one.
        kind: Its distribution.
        seed: Fixes the noise. The first copies are the same for every ``count``.

    Returns:
        ``(J, K, H, W)`` float32 on the CPU.

    >>> noise = disturbances(2, (1, 2, 2), 0.1)
    >>> noise.shape, bool((noise.abs() <= 0.1).all()), torch.equal(noise[:1], disturbances(1, (1, 2, 2), 0.1))
    (torch.Size([2, 1, 2, 2]), True, True)
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.empty(count, *shape)
    for copy in noise:
        if kind == "uniform":
            copy.uniform_(-size, size, generator=generator)
        else:
            copy.normal_(0, size, generator=generator)
    return noise


def channel_correlation(evidence: Tensor) -> Tensor:
    """Evidence of each channel, summed over its places: ``(N, K, H, W)`` to ``(N, K)``.

    References:
        Feng et al., AAAI 2022, equation 2.

    >>> channel_correlation(torch.ones(1, 2, 3, 3))
    tensor([[9., 9.]])
    """
    return evidence.sum(dim=(2, 3), dtype=torch.float64).to(evidence.dtype)


def normalized_per_class(correlation: Tensor) -> Tensor:
    """Correlations of each class ``(classes, K)`` brought to [0, 1] by their smallest and largest one.

    All 0 where they are the same.

    >>> normalized_per_class(torch.tensor([[1.0, 3.0, 2.0]])).round(decimals=3)
    tensor([[0.0000, 1.0000, 0.5000]])
    """
    low = correlation.amin(dim=1, keepdim=True)
    apart = correlation.amax(dim=1, keepdim=True) - low
    # A share of what they are apart where that is small: otherwise evidence on a smaller scale would have no channels.
    return (correlation - low) / (apart + EPSILON * apart.clamp(max=1)).where(apart != 0, 1.0)


def relevant_channels(correlation: Tensor, threshold: float | Literal["mean"] = 0.2) -> Tensor:
    """Channels that each class relies on, ``(classes, K)`` bool; none for a class whose correlations are NaN.

    Args:
        correlation: ``(classes, K)``.
        threshold: For the normalized correlation, as in the authors' published program; ``"mean"`` takes those of at
            least the class's mean, as an earlier version of it did.

    >>> relevant_channels(torch.tensor([[1.0, 3.0, 2.0]]), "mean")
    tensor([[False,  True,  True]])
    """
    if threshold == "mean":
        return correlation >= correlation.mean(dim=1, keepdim=True)
    return normalized_per_class(correlation) >= threshold


def jaccard(sets: Tensor) -> Tensor:
    """Shared members of every two sets over the members of both, ``(S, S)``; NaN for two empty ones.

    Args:
        sets: Membership, ``(S, K)`` bool.

    >>> jaccard(torch.tensor([[True, True, False], [False, True, False]]))
    tensor([[1.0000, 0.5000],
            [0.5000, 1.0000]], dtype=torch.float64)
    """
    members = sets.double()
    shared = members @ members.T
    sizes = members.sum(dim=1)
    return shared / (sizes[:, None] + sizes - shared)


def jaccard_by_chance(sets: Tensor) -> Tensor:
    """What :func:`jaccard` is on average for random sets of the same sizes, ``(S, S)``; 1 for a set with itself.

    Two random sets of a and b out of K members share a number of them that is distributed hypergeometrically.

    Args:
        sets: Membership, ``(S, K)`` bool.

    >>> jaccard_by_chance(torch.tensor([[True, False], [False, True]]))
    tensor([[1.0000, 0.5000],
            [0.5000, 1.0000]], dtype=torch.float64)
    """
    sizes, which = sets.sum(dim=1).unique(return_inverse=True)
    expected = torch.from_numpy(_expected_jaccard(sets.shape[1], sizes.cpu().numpy()))
    every = expected[which][:, which]
    every.fill_diagonal_(1.0)
    return every


def _expected_jaccard(members: int, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """For sets of each two of some sizes out of so many members, ``(S, S)``; NaN for two empty ones."""
    # Of ln(n!) for all n that occur, since SciPy's distribution computes its own for each of a billion numbers.
    ln = gammaln(np.arange(members + 1) + 1.0)
    expected = np.full((len(sizes), len(sizes)), np.nan)
    for row, a in enumerate(sizes.tolist()):
        for column, b in enumerate(sizes[: row + 1].tolist()):
            if a + b == 0:
                continue
            shared = np.arange(max(0, a + b - members), min(a, b) + 1)
            ways = ln[a] - ln[shared] - ln[a - shared] + ln[members - a] - ln[b - shared]
            chances = np.exp(ways - ln[members - a - b + shared] - ln[members] + ln[b] + ln[members - b])
            expected[row, column] = expected[column, row] = (chances * shared / (a + b - shared)).sum()
    return expected
