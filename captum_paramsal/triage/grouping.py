"""Mistakes in groups: those whose salient filters are more similar than chance would have it."""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from captum_paramsal.functional import cosines, nearest

CHANCE_QUANTILE = 0.99
"""Quantile of the similarity by chance that the mean similarity within a group exceeds."""

TINY = 1e-9


def group_by_similarity(scores: Tensor, smallest: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Group images whose filters stand out together.

    Of the scores only what is above 0 counts: filters that are more salient than they usually are. Images are joined by
    average linkage of the cosine between their scores, as long as its mean over pairs from both sides exceeds the 99th
    percentile of what it is between images whose scores are shuffled, filter by filter: the same filters, but nothing
    that they do together.

    Args:
        scores: z-scores, ``(M, F)``.
        smallest: Images that a group has at least.
        seed: Fixes the shuffling.

    Returns:
        Number of each image's group ``(M,)``, the largest group being 0, and -1 for an image in none; and the mean
        cosine of each image with the others of its group ``(M,)`` float64, NaN for an image in none.
    """
    count = len(scores)
    groups, similarity = torch.full((count,), -1), torch.full((count,), torch.nan, dtype=torch.float64)
    if count < max(smallest, 2):
        return groups, similarity
    raised = scores.detach().cpu().double().clamp(min=0)
    alike = cosines(raised, raised).fill_diagonal_(1).numpy()
    generator = np.random.default_rng(seed)
    mixed = torch.from_numpy(np.stack([generator.permutation(column) for column in raised.numpy().T], axis=1))
    shuffled = cosines(mixed, mixed).numpy()
    pairs = np.triu_indices(count, 1)
    tree = linkage(1 - alike[pairs], "average")
    # Strictly more similar, so that images without a raised filter are not similar in that.
    clusters = fcluster(tree, 1 - np.quantile(shuffled[pairs], CHANCE_QUANTILE) - TINY, "distance")
    labels, sizes = np.unique(clusters, return_counts=True)
    largest_first = np.argsort(-sizes, kind="stable")
    kept = [labels[place] for place in largest_first if sizes[place] >= smallest]
    for number, label in enumerate(kept):
        members = np.flatnonzero(clusters == label)
        others = (alike[np.ix_(members, members)].sum(axis=1) - 1) / (len(members) - 1)
        groups[members], similarity[members] = number, torch.from_numpy(others)
    return groups, similarity


def nearest_by_similarity(scores: Tensor, k: int = 5) -> tuple[Tensor, Tensor]:
    """The images whose filters stand out most as those of each image do, by the similarity that groups are made by.

    Args:
        scores: z-scores, ``(M, F)``; what is below 0 does not count.
        k: How many; all others where there are fewer.

    Returns:
        Numbers of the images, nearest first, ``(M, K)`` int64, and their cosines, ``(M, K)`` float64.

    >>> numbers, alike = nearest_by_similarity(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]]), k=1)
    >>> numbers.tolist(), alike.tolist()
    ([[2], [2], [1]], [[0.6], [0.8], [0.8]])
    """
    raised = scores.detach().cpu().double().clamp(min=0)
    return nearest(cosines(raised, raised).fill_diagonal_(-torch.inf), min(k, len(scores) - 1))
