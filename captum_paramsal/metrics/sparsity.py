"""Sparsity: on how few pixels does a map lie?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from captum_paramsal.metrics.maps import per_pixel
from captum_paramsal.metrics.metric import Column, Metric
from captum_paramsal.metrics.scoring_case import Case


@dataclass(frozen=True)
class Sparsity(Metric):
    """Gini index of a map's absolute values, channels summed with their signs first.

    No end is the better one: a map of one pixel is as sparse as can be.

    References:
        See :func:`gini_index`.
    """

    name: ClassVar[str] = "sparsity"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("sparsity", "Gini index", "", "0 for a map that is equally strong everywhere, near 1 for few pixels."),
    )

    def score(self, case: Case) -> dict[str, Tensor]:
        """Gini index of each map."""
        return {"sparsity": case.judged(gini_index(per_pixel(case.maps).flatten(1)))}


def gini_index(values: Tensor) -> Tensor:
    """How unequal absolute values are: 0 where they are the same, ``1 - 1/M`` where all but one of M are 0.

    With the absolute values in rising order, ``1 - 2 Σ c[k] / Σ c · (M - k + 1/2) / M``, k from 1 to M.

    Args:
        values: ``(N, M)``.

    Returns:
        ``(N,)`` float64; NaN for a row of zeros.

    References:
        Hurley, Rickard: *Comparing Measures of Sparsity*, IEEE Transactions on Information Theory 55 (2009),
        arXiv 0811.4706.

    >>> gini_index(torch.tensor([[1.0, -1.0, 1.0, 1.0], [0.0, 0.0, 3.0, 0.0]]))
    tensor([0.0000, 0.7500], dtype=torch.float64)
    """
    rising = values.double().abs().sort(dim=1).values
    count = rising.shape[1]
    weights = torch.arange(count - 0.5, 0, -1, dtype=torch.float64, device=rising.device) / count
    return 1 - 2 * (rising * weights).sum(dim=1) / rising.sum(dim=1)
