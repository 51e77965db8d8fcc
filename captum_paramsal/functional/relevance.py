"""Relevance that is handed back through operations without weights."""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-6
"""What keeps a division from blowing up, as in zennit."""


def stabilized(values: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Values moved away from zero, those at zero upwards.

    >>> import torch
    >>> stabilized(torch.tensor([0.0, -2.0]), epsilon=0.5)
    tensor([ 0.5000, -2.5000])
    """
    return values + epsilon * (values.sign() + (values == 0))


def relevance_of_part(relevance: Tensor, part: Tensor, whole: Tensor) -> Tensor:
    """The relevance R of a sum that belongs to one of its terms z: ``R · z / Σ z``, the epsilon rule.

    Args:
        relevance: R of the sum.
        part: z.
        whole: Σ z.

    References:
        Bach et al., On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation,
        PLOS ONE 2015.

    >>> import torch
    >>> relevance_of_part(torch.tensor([8.0]), torch.tensor([3.0]), torch.tensor([4.0])).round()
    tensor([6.])
    """
    return relevance * part / stabilized(whole)
