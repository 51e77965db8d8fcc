"""Maps of any method, as one number per pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_paramsal.errors import InputError


def per_pixel(maps: Tensor) -> Tensor:
    """One number per pixel: the signed sum over the channels, if there are any.

    Args:
        maps: ``(N, H, W)`` or ``(N, C, H, W)``.

    Returns:
        ``(N, H, W)`` float64 on the CPU.

    Raises:
        InputError: Maps of another shape, or none.

    >>> per_pixel(torch.tensor([[[[1.0, -2.0]], [[1.0, 5.0]]]]))
    tensor([[[2., 3.]]], dtype=torch.float64)
    """
    if maps.ndim not in (3, 4) or 0 in maps.shape:
        message = f"Expected maps (N, H, W) or (N, C, H, W), got {tuple(maps.shape)}."
        raise InputError(message)
    values = maps.detach().cpu()
    return values.double() if values.ndim == 3 else values.sum(dim=1, dtype=torch.float64)
