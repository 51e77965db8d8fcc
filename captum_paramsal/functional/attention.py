"""Attention: the shares in which tokens are mixed."""

from __future__ import annotations

import torch
from torch import Tensor


def attention_shares(
    query: Tensor, key: Tensor, *, mask: Tensor | None = None, causal: bool = False, scale: float | None = None
) -> Tensor:
    """Shares A of every token in what every other one gets: softmax(s Q Kᵀ + M) over the keys.

    Args:
        query: Q, ``(..., T, D)``.
        key: K, ``(..., S, D)``.
        mask: M, ``(..., T, S)``: numbers that are added, or bool, False for keys that are left out.
        causal: Leave out the keys after each query.
        scale: s; 1 / √D where None.

    Returns:
        ``(..., T, S)``; each row sums to 1.

    References:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017, equation 1.

    >>> attention_shares(torch.zeros(1, 2), torch.ones(4, 2))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    scores: Tensor = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        earlier = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~earlier, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(dim=-1)
