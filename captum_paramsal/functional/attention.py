"""Attention: the shares in which tokens are mixed, and what they make of them over several layers."""

from __future__ import annotations

from collections.abc import Sequence

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


def attention_rollout(shares: Sequence[Tensor]) -> Tensor:
    """How much of each token at the beginning is in each token at the end, if layers only mixed them.

    ``R = Â_L ··· Â_1`` with ``Â = (mean over heads of A + I) / 2``: half of a token is what it was before the layer.

    Args:
        shares: A of each layer, ``(N, heads, T, T)``, the first layer first.

    Returns:
        ``(N, T, T)``; each row sums to 1.

    References:
        Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020.

    >>> attention_rollout([torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])])
    tensor([[[0.5000, 0.5000],
             [0.5000, 0.5000]]])
    """
    rolled = _identity(shares[0])
    for layer in shares:
        rolled = 0.5 * (layer.mean(dim=1) @ rolled + rolled)
    return rolled


def attention_relevance(shares: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """How relevant each token at the beginning is to a score by way of each token at the end.

    ``R ← R + Ā R``, layer by layer from ``R = I``, with Ā the mean over heads of ``max(0, ∇A ⊙ A)``: a share counts by
    what it does for the score. I itself, what no attention has moved, is taken away in the end.

    Args:
        shares: A of each layer, ``(N, heads, T, T)``, the first layer first.
        gradients: Of the score with respect to each A.

    Returns:
        ``(N, T, T)``, nowhere below 0.

    References:
        Chefer, Gur and Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
        Transformers, ICCV 2021: the rule for self-attention.

    >>> attention_relevance([torch.tensor([[[[0.2, 0.8], [0.5, 0.5]]]])], [torch.tensor([[[[1.0, -1.0], [2.0, 0.0]]]])])
    tensor([[[0.2000, 0.0000],
             [1.0000, 0.0000]]])
    """
    identity = relevance = _identity(shares[0])
    for layer, gradient in zip(shares, gradients, strict=True):
        relevance = relevance + (gradient * layer).relu().mean(dim=1) @ relevance
    return relevance - identity


def _identity(shares: Tensor) -> Tensor:
    count, _, tokens, _ = shares.shape
    return torch.eye(tokens, dtype=shares.dtype, device=shares.device).expand(count, tokens, tokens)
