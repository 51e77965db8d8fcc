"""The middle of a sample."""

from __future__ import annotations

from torch import Tensor


def median(values: Tensor) -> Tensor:
    """Median over the first dimension, between the two in the middle where there is an even number of values.

    PyTorch's own takes the lower of these two.

    Args:
        values: ``(N, ...)``.

    Returns:
        ``(...)`` float64.

    >>> import torch
    >>> median(torch.tensor([4.0, 1.0, 2.0, 7.0]))
    tensor(3., dtype=torch.float64)
    """
    return values.double().quantile(0.5, dim=0)
