"""How far the gradients of many examples pull in one direction."""

from __future__ import annotations

import torch
from torch import Tensor


def coherence(sums: Tensor, squares: Tensor, count: int) -> Tensor:
    """Mean inner product of the gradients of two different examples, as a share of their mean squared length.

    ``c = (|Σ_i g_i|² - Σ_i |g_i|²) / ((n - 1) Σ_i |g_i|²)``: 1 where all gradients are equal, 0 on average where their
    directions are independent, and at least ``-1 / (n - 1)``.

    Args:
        sums: Squared length of the sum of the examples' gradients, ``(F,)``.
        squares: Sum of their squared lengths, ``(F,)``.
        count: Examples, n.

    Returns:
        ``(F,)``; 0 where all gradients are 0, or for a single example, which has no other to agree with.

    >>> coherence(torch.tensor([4.0, 2.0, 0.0]), torch.tensor([2.0, 2.0, 2.0]), 2)
    tensor([ 1.,  0., -1.])
    """
    if count < 2:
        return torch.zeros_like(sums)
    shares: Tensor = (sums - squares) / ((count - 1) * squares)
    return torch.where(squares > 0, shares, 0.0)
