"""What takes the place of pixels that are gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from captum_paramsal.errors import InputError

BLUR = 1 / 20
"""Standard deviation of the blur, as a share of the shorter side: 11 pixels of 224."""


def mean_colour(images: Tensor) -> Tensor:
    """The mean of each channel of each image, at every pixel.

    >>> mean_colour(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
    tensor([[[[3., 3.],
              [3., 3.]]]])
    """
    return images.mean(dim=(2, 3), keepdim=True).expand_as(images)


def blurred(images: Tensor, sigma: float | None = None) -> Tensor:
    """Images ``(N, C, H, W)`` after a Gaussian blur; beyond the edges lie copies of the edge.

    Args:
        images: Of any floating point type.
        sigma: Standard deviation in pixels; a 20th of the shorter side by default.
    """
    sigma = BLUR * min(images.shape[2:]) if sigma is None else sigma
    reach = ceil(3 * sigma)
    places = torch.arange(-reach, reach + 1, device=images.device, dtype=torch.float64)
    weights = torch.exp(-((places / sigma) ** 2) / 2)
    # Half precision would blur in steps, and not every device convolves it.
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    kernel = (weights / weights.sum()).to(dtype)
    planes = images.flatten(0, 1)[:, None].to(dtype)
    planes = conv2d(pad(planes, (reach, reach, 0, 0), mode="replicate"), kernel[None, None, None, :])
    planes = conv2d(pad(planes, (0, 0, reach, reach), mode="replicate"), kernel[None, None, :, None])
    return planes.view(images.shape).to(images.dtype)


BASELINES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType({"blur": blurred, "mean": mean_colour})
"""Baselines by name: images ``(N, C, H, W)`` to what takes their place."""


def require_baseline(name: str) -> None:
    """Make sure that there is a baseline of this name.

    Raises:
        InputError: There is none.
    """
    if name not in BASELINES:
        known = ", ".join(map(repr, BASELINES))
        message = f"Expected `baseline` to be one of {known}, got {name!r}."
        raise InputError(message)
