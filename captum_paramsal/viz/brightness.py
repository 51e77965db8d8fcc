"""How bright a picture is."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.values import Values, as_values


def grey(image: Values) -> Tensor:
    """A grey copy ``(H, W)`` of an image ``(1 or 3, H, W)``, as bright as it (ITU-R BT.601).

    Raises:
        InputError: An image of another shape.
    """
    pixels = as_values(image)
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or 0 in pixels.shape:
        message = f"Expected an image of shape (1 or 3, H, W), got {tuple(pixels.shape)}."
        raise InputError(message)
    weights = torch.tensor([0.299, 0.587, 0.114] if pixels.shape[0] == 3 else [1.0])
    return (pixels.float().clamp(0, 1) * weights[:, None, None]).sum(dim=0)
