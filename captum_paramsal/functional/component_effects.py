"""Effects of single filters, from a model in which many were ablated at once (Shah, Ilyas and Mądry, 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_paramsal.functional.decision_margins import label_and_others


def log_odds(scores: Tensor, labels: Tensor) -> Tensor:
    """How far a class is ahead of all others together, ``s_y - log Σ_{c ≠ y} exp s_c``: the log odds of its softmax.

    Unlike the loss it has no floor where the model is certain. It is above 0 where the softmax of the class is above a
    half. The paper's published code subtracts the highest other score instead of their logarithmic sum.

    Args:
        scores: Class scores, ``(N, C)``, of two classes or more.
        labels: Class of each example, ``(N,)``.

    Returns:
        ``(N,)`` float64, in nats: in the scores' own type the logarithm of many classes swallows small differences.

    >>> log_odds(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])).exp()
    tensor([3.6945], dtype=torch.float64)
    """
    of_label, others = label_and_others(scores.double(), labels)
    return of_label - others.logsumexp(dim=1)


def ablation_groups(filters: int, groups: int, passes: int, seed: int = 0) -> Tensor:
    """Which filters are ablated in which pass: in every round of passes, each filter once.

    Each round shuffles the filters and cuts them into groups whose sizes differ by one at most. So every filter is
    ablated equally often, up to one time, which independent draws would leave to chance.

    Args:
        filters: How many there are, F.
        groups: Passes of a round, from 1 to F.
        passes: How many in all, M.
        seed: Of the order.

    Returns:
        ``(M, F)`` bool, True where a filter is ablated.

    >>> ablation_groups(4, 2, 6).sum(dim=0)
    tensor([3, 3, 3, 3])
    """
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(passes, filters, dtype=torch.bool)
    for start in range(0, passes, groups):
        order = torch.randperm(filters, generator=generator)
        for row, group in enumerate(order.tensor_split(groups)[: passes - start], start=start):
            masks[row, group] = True
    return masks


def component_effects(ablated: Tensor, changes: Tensor, ridge: float) -> Tensor:
    """Effect of each filter, so that the effects of those ablated in a pass add up to the change seen in it.

    ``w = argmin Σ_m (changes[m] - Σ_{j ablated in m} w[j])² + λ Σ_j w[j]²`` (section 3), with λ the ``ridge`` times the
    passes in which a filter is ablated on average. There is no intercept: without ablations nothing changes.
    Solved in the smaller of the two dimensions, and in float64.

    Args:
        ablated: Which filters each pass ablates, ``(M, F)`` bool.
        changes: What it changes in each image's margin, ``(M, N)``.
        ridge: Strength of the penalty. With 1, an effect is half of what its filter's own passes show.

    Returns:
        ``(N, F)`` float64.

    >>> ablated = torch.tensor([[True, True], [True, False]])
    >>> component_effects(ablated, torch.tensor([[5.0], [2.0]]), ridge=0.0)
    tensor([[2.0000, 3.0000]], dtype=torch.float64)
    """
    design, changes = ablated.double(), changes.double()
    penalty = ridge * design.sum() / design.shape[1]
    if design.shape[0] < design.shape[1]:
        gram = design @ design.T
        return (design.T @ _solved(gram, penalty, changes)).T.contiguous()
    return _solved(design.T @ design, penalty, design.T @ changes).T.contiguous()


def agreement(first: Tensor, second: Tensor) -> Tensor:
    """How well the mean of two estimates is known: their correlation, as of twice the passes (Spearman and Brown).

    Args:
        first: From one half of the passes, ``(N, F)``.
        second: From the other.

    Returns:
        ``2 r / (1 + r)`` of each image, ``(N,)``; 0 for a correlation r below 0, or where an estimate does not vary.

    >>> agreement(torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[0.0, 2.0, 1.0]]))
    tensor([0.6667])
    """
    first, second = (half - half.mean(dim=1, keepdim=True) for half in (first, second))
    lengths = first.norm(dim=1) * second.norm(dim=1)
    correlation = torch.where(lengths > 0, (first * second).sum(dim=1) / lengths, 0.0).clamp(min=0)
    return 2 * correlation / (1 + correlation)


def _solved(gram: Tensor, penalty: Tensor, right: Tensor) -> Tensor:
    gram.diagonal().add_(penalty)
    # Without a penalty it is singular, where filters always go together.
    solved: Tensor = torch.linalg.solve(gram, right) if penalty else torch.linalg.pinv(gram, hermitian=True) @ right
    return solved
