"""Tensors and the autograd graph."""

from __future__ import annotations

from torch import Tensor


def detached(tensor: Tensor) -> Tensor:
    """The tensor apart from the graph it belongs to; one made in inference mode is copied, autograd refuses it."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()
