"""The loss whose gradient is the saliency."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""``(logits (N, C), labels (N,)) -> (N,)``: one loss per example, each from its own row alone."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log softmax probability of each example's label, in nats.

    Args:
        logits: ``(N, C)``.
        labels: Class numbers, ``(N,)``.

    Returns:
        ``(N,)``.

    >>> import torch
    >>> cross_entropy(torch.zeros(1, 4), torch.tensor([2])).exp()
    tensor([4.])
    """
    return functional.cross_entropy(logits, labels, reduction="none")


def loss_name(loss: Loss) -> str:
    """Name that a loss is recognised by."""
    return str(getattr(loss, "__qualname__", type(loss).__qualname__))
