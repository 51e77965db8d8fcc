"""What figures are given: tensors, arrays, or lists of numbers."""

from __future__ import annotations

from typing import TypeAlias

import torch
from numpy.typing import ArrayLike
from torch import Tensor

Values: TypeAlias = ArrayLike | Tensor
"""A tensor, an array of numpy, or what numpy makes one of."""


def as_values(values: Values) -> Tensor:
    """As a tensor on the processor, apart from any graph.

    >>> as_values([[1.0, 2.0]]).shape
    torch.Size([1, 2])
    """
    return torch.as_tensor(values).detach().cpu()
