"""How far an answer is from being another, and how many answers are right if those close to it count in part."""

from __future__ import annotations

import torch
from torch import Tensor


def decision_margins(scores: Tensor, labels: Tensor) -> Tensor:
    """By how much each label leads, ``s_y - max_{c ≠ y} s_c``: above 0 where the answer is right.

    Args:
        scores: Class scores, ``(N, C)``, of two classes or more.
        labels: Class of each example, ``(N,)``.

    Returns:
        ``(N,)``, in the unit of the scores.

    >>> decision_margins(torch.tensor([[2.0, 0.5, 0.0], [2.0, 0.5, 0.0]]), torch.tensor([0, 2]))
    tensor([ 1.5000, -2.0000])
    """
    of_label = scores.gather(1, labels[:, None])[:, 0]
    return of_label - scores.scatter(1, labels[:, None], -torch.inf).amax(dim=1)


def soft_share_right(margins: Tensor, width: float) -> float:
    """Share of right answers where one counts as right by ``σ(margin / width)``, a half on the border.

    Of few examples it says more than the share itself, which moves by whole examples: those that come close to the
    border without crossing it count, too.

    Args:
        margins: Of ``decision_margins``, ``(N,)``.
        width: Of the border, in the unit of the margins, above 0; towards 0 this is the share of right answers.

    >>> soft_share_right(torch.tensor([3.0, 0.0, -3.0, -3.0]), 0.1)
    0.375
    """
    return torch.sigmoid(margins.double() / width).mean().item()
