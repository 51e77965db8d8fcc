"""How far an answer is from being another, and how far it is right where that is close."""

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
    of_label, others = label_and_others(scores, labels)
    return of_label - others.amax(dim=1)


def label_and_others(scores: Tensor, labels: Tensor, blank: float = -torch.inf) -> tuple[Tensor, Tensor]:
    """Scores of the labels, ``(N,)``, and of all classes, ``(N, C)``, with another value in the label's place.

    >>> label_and_others(torch.tensor([[2.0, 0.5]]), torch.tensor([0]))
    (tensor([2.]), tensor([[  -inf, 0.5000]]))
    """
    places = labels[:, None]
    return scores.gather(1, places)[:, 0], scores.scatter(1, places, blank)


def soft_right(margins: Tensor, width: float) -> Tensor:
    """How far each answer is right, ``σ(margin / width)``: a half on the border, 0 or 1 far from it.

    Of few examples the mean says more than the share of right answers, which moves by whole examples: those that come
    close to the border without crossing it count, too.

    Args:
        margins: Of ``decision_margins``, ``(N,)``.
        width: Of the border, in the unit of the margins, above 0; towards 0 each answer is right or wrong.

    Returns:
        ``(N,)`` float64.

    >>> soft_right(torch.tensor([3.0, 0.1, 0.0, -3.0]), 0.1)
    tensor([1.0000e+00, 7.3106e-01, 5.0000e-01, 9.3576e-14], dtype=torch.float64)
    """
    return torch.sigmoid(margins.double() / width)
