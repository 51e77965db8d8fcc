"""Inputs as people hold them, as a model takes them: arrays of numpy, and one image without a dimension of examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_paramsal.functional import tensor_of
from captum_paramsal.hooks.scored_model import scores_in
from captum_paramsal.hooks.state import frozen_eval


def as_tensor(value: Any, model: object) -> Any:
    """A tensor for an array of numpy, on the model's device; anything else as it is.

    Numbers of floating point get the type of the model's weights, since that of an array is rarely chosen (numpy's own
    is float64). Whole numbers and truth values keep theirs: what they mean is the model's affair.

    Raises:
        InputError: A masked array, or one that holds no numbers.

    >>> as_tensor(np.ones((2, 3)), nn.Linear(3, 1)).dtype
    torch.float32
    """
    if not isinstance(value, np.ndarray):
        return value
    tensor, like = tensor_of(value), weight_like(model)
    return tensor.to(like) if tensor.is_floating_point() else tensor.to(like.device)


def is_one_image(model: object, image: Tensor, run: Callable[[Tensor], Any]) -> bool:
    """Whether something ``(C, H, W)`` can only be one image to a model: as C examples the model does not take it.

    Args:
        model: The model; its first convolution of images takes C channels, or the answer is no.
        image: ``(C, H, W)``.
        run: What the model returns for it, as C examples.
    """
    if not isinstance(model, nn.Module) or image.ndim != 3:
        return False
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.in_channels != len(image):
        return False
    with frozen_eval(model, gradients=False):
        try:
            scores = scores_in(run(image))
        except torch.OutOfMemoryError:
            raise
        except Exception:  # noqa: BLE001 -- whatever the model says of inputs that are not its own
            return True
    return not isinstance(scores, Tensor) or scores.ndim < 2 or len(scores) != len(image)


def weight_like(model: object) -> Tensor:
    """An empty tensor of the type and on the device of a model's weights; torch's default for a function."""
    if not isinstance(model, nn.Module):
        return torch.empty(0)
    weights = [weight for weight in (*model.parameters(), *model.buffers()) if weight.is_floating_point()]
    return torch.empty(0, dtype=weights[0].dtype, device=weights[0].device) if weights else torch.empty(0)
