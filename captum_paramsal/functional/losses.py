"""The loss whose gradient is the saliency."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from captum_paramsal.functional.decision_margins import label_and_others

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""``(logits (N, C), labels (N,)) -> (N,)``: one loss per example, each from its own row alone."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log softmax probability of each example's label, in nats.

    ``log(1 + exp(logsumexp of the other scores - score of the label))``, whose gradient keeps its digits where the
    label is almost certain. That of :func:`torch.nn.functional.cross_entropy` is a probability less 1, of which float32
    has lost a thousandth at a lead of 10 nats, and everything from 17 on.

    Args:
        logits: ``(N, C)``.
        labels: Class numbers, ``(N,)``.

    Returns:
        ``(N,)``.

    >>> cross_entropy(torch.zeros(1, 4), torch.tensor([2])).exp()
    tensor([4.])
    """
    # Not minus infinity, of which differences are NaN.
    of_label, others = label_and_others(logits, labels, torch.finfo(logits.dtype).min)
    return -functional.logsigmoid(of_label - others.logsumexp(dim=1))


def loss_name(loss: Loss) -> str:
    """Name that a loss is recognised by."""
    return str(getattr(loss, "__qualname__", type(loss).__qualname__))
