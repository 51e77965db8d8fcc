"""Everything that is stored in a model: its state, copied and loaded."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from captum_paramsal.errors import TreatmentError


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, shared ones once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies of parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in tensors_of(model).items()}


def load_state(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Write parameters and buffers into a model, bit for bit."""
    with torch.no_grad():
        for name, tensor in tensors_of(model).items():
            tensor.copy_(tensors[name])


def trainable_copy(model: nn.Module) -> nn.Module:
    """A copy that can be trained without a trace in the model.

    Raises:
        TreatmentError: The model cannot be copied, or none of its parameters requires a gradient.
    """
    try:
        copied = copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        message = (
            f"Expected a model that can be copied, but copying failed: {error} Remove hooks that compute weights, such "
            "as those of `torch.nn.utils.weight_norm`."
        )
        raise TreatmentError(message) from error
    if not any(parameter.requires_grad for parameter in copied.parameters()):
        message = "Expected a model with parameters to train, but none requires a gradient. Call `requires_grad_()`."
        raise TreatmentError(message)
    return copied
