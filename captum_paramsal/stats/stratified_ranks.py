"""Whether values are larger in one set of images than in another, among images of the same class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm, rankdata
from torch import Tensor

from captum_paramsal.errors import InputError


@dataclass(frozen=True, eq=False)
class StratifiedRanks:
    """Result of the test of van Elteren, for every column.

    Attributes:
        superiority: Chance that a value of the set is larger than another one of its stratum, ties counting half,
            ``(F,)`` float64: 0.5 where nothing differs.
        p_values: One-sided, of the set being larger, ``(F,)`` float64; 1 for a column in which nothing varies.
        compared: Images of the set whose stratum has others to compare with.
    """

    superiority: Tensor
    p_values: Tensor
    compared: int


def stratified_ranks(values: Tensor, in_set: Tensor, strata: Tensor) -> StratifiedRanks:
    """Compare the ranks of some images with those of the others of the same stratum (van Elteren's test).

    Within stratum s of n images, m of them in the set, the sum of their mid-ranks has the mean ``m (n + 1) / 2`` and
    the variance ``m (n - m) / (n (n - 1)) Σ (rank - (n + 1) / 2)²``, which accounts for ties. Sums are added up over
    strata with the weights ``1 / (n + 1)``, which are best where the shift is the same in all strata, and compared with
    the normal distribution.

    Args:
        values: ``(N, F)``.
        in_set: Images of the set, ``(N,)`` bool.
        strata: Stratum of each image, such as its class, ``(N,)``.

    Raises:
        InputError: No stratum holds images of both kinds.

    References:
        P. van Elteren, *On the combination of independent two-sample tests of Wilcoxon*, Bulletin of the International
        Statistical Institute 37, 1960.

    >>> found = stratified_ranks(torch.arange(8.0)[:, None], torch.arange(8) > 3, torch.zeros(8))
    >>> found.superiority.tolist(), round(found.p_values.item(), 3)
    ([1.0], 0.01)
    """
    rows, chosen, classes = values.detach().cpu().double().numpy(), in_set.cpu().numpy(), strata.cpu().numpy()
    statistic, variance, wins, pairs = (np.zeros(rows.shape[1]) for _ in range(4))
    compared = 0
    for stratum in np.unique(classes):
        in_class = classes == stratum
        in_set_of_class = chosen[in_class]
        size, count = len(in_set_of_class), int(in_set_of_class.sum())
        if not 0 < count < size:
            continue
        ranks = rankdata(rows[in_class], axis=0)
        excess = ranks[in_set_of_class].sum(axis=0) - count * (size + 1) / 2
        spread = ((ranks - (size + 1) / 2) ** 2).sum(axis=0)
        statistic += excess / (size + 1)
        variance += count * (size - count) / (size * (size - 1)) * spread / (size + 1) ** 2
        wins += excess + count * (size - count) / 2
        pairs += count * (size - count)
        compared += count
    if not compared:
        message = (
            "Expected images of the set and others in at least one stratum, got none with both: there is nothing to "
            "compare with."
        )
        raise InputError(message)
    varies = variance > 0
    scores = np.divide(statistic, np.sqrt(variance), out=np.full_like(statistic, -np.inf), where=varies)
    return StratifiedRanks(torch.from_numpy(wins / pairs), torch.from_numpy(norm.sf(scores)), compared)
