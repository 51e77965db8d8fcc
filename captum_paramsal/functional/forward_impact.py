"""Which filters cost much in mistakes and little in correct images, by two costs at once (Sohn, Kang and Yoo, 2023)."""

from __future__ import annotations

import torch
from torch import Tensor


def wrong_against_right(of_mistakes: Tensor, of_correct: Tensor) -> Tensor:
    """``a / (1 + b)`` of a cost a in mistakes and b in correct images, as in Arachne's published code.

    Both are divided by the mean of b over the filters first, so that the 1 does not depend on the unit of the cost.

    Args:
        of_mistakes: a, ``(F,)``, not negative.
        of_correct: b, ``(F,)``, not negative.

    Returns:
        ``(F,)``.

    >>> wrong_against_right(torch.tensor([4.0, 4.0]), torch.tensor([0.0, 4.0]))
    tensor([2.0000, 0.6667])
    """
    unit = of_correct.mean()
    unit = torch.where(unit > 0, unit, torch.ones_like(unit))
    return (of_mistakes / unit) / (1 + of_correct / unit)


def pareto_fronts(costs: Tensor) -> Tensor:
    """Front of each filter: 1 where no other has higher costs of every kind, 2 where only those of front 1 do, ...

    Another filter has higher costs if none of them is lower and one is higher.

    Args:
        costs: ``(F, K)``.

    Returns:
        ``(F,)`` whole numbers from 1.

    >>> pareto_fronts(torch.tensor([[3.0, 1.0], [1.0, 3.0], [1.0, 1.0], [0.0, 1.0]]))
    tensor([1, 1, 2, 3])
    """
    # In this order nothing is beaten by what comes after it, so that one pass settles all fronts.
    order = torch.arange(len(costs))
    for of_kind in costs.T.flip(0):
        order = order[of_kind[order].sort(descending=True, stable=True).indices]
    ordered = costs[order].T.contiguous()
    settled = torch.ones(len(costs), dtype=torch.int64)
    for place in range(1, len(costs)):
        before, own = ordered[:, :place], ordered[:, place, None]
        beaten_by = (before >= own).all(dim=0) & (before > own).any(dim=0)
        settled[place] = 1 + (settled[:place] * beaten_by).max()
    fronts = torch.empty_like(settled)
    fronts[order] = settled
    return fronts


def pareto_score(costs: Tensor) -> Tensor:
    """Place of each filter by its front, and within one by the product of its costs: 1 for the first, 1/F for the last.

    >>> pareto_score(torch.tensor([[3.0, 1.0], [2.0, 3.0], [1.0, 1.0], [0.0, 1.0]]))
    tensor([0.7500, 1.0000, 0.5000, 0.2500], dtype=torch.float64)
    """
    by_product = costs.double().prod(dim=1).sort(descending=True, stable=True).indices
    order = by_product[pareto_fronts(costs)[by_product].sort(stable=True).indices]
    score = torch.empty(len(costs), dtype=torch.float64)
    score[order] = torch.arange(len(costs), 0, -1, dtype=torch.float64) / len(costs)
    return score
