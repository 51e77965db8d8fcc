"""Tensors of arrays, and tensors apart from the autograd graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_paramsal.errors import InputError


def tensor_of(value: Any) -> Any:
    """A tensor with the numbers of an array of numpy, of the same type; anything else as it is.

    Raises:
        InputError: A masked array, or one that holds no real numbers.

    >>> tensor_of(np.arange(3)[::-1]).tolist()
    [2, 1, 0]
    """
    if not isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.ma.MaskedArray) or value.dtype.kind not in "biuf":
        got = "a masked array" if isinstance(value, np.ma.MaskedArray) else f"an array of {value.dtype}"
        message = f"Expected arrays of numbers, got {got}. Make one of it, such as `numpy.asarray(array, dtype=float)`."
        raise InputError(message)
    # A copy: torch refuses arrays that are flipped or of foreign byte order, and warns of those that are read-only.
    return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))


def detached(tensor: Tensor) -> Tensor:
    """The tensor apart from the graph it belongs to; one made in inference mode is copied, autograd refuses it."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()
