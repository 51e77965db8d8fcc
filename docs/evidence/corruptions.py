"""Photos corrupted as in ImageNet-C at its highest severity (Hendrycks, Dietterich, arXiv 1903.12261)."""

from collections.abc import Callable
from math import ceil, cos, radians, sin

import torch
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ["CORRUPTIONS"]

REACH, SPREAD = 25, 12.0
"""Pixels that a flake is drawn out over, and the standard deviation of its weight along them."""


def gaussian_noise(pixels: Tensor) -> Tensor:
    """Noise of standard deviation 0.38 on pixels in [0, 1]."""
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    return (pixels + 0.38 * noise).clamp(0, 1)


def snow(pixels: Tensor) -> Tensor:
    """A paler photo behind two layers of streaks, one of them the other rotated by 180 degrees."""
    count, _, height, width = pixels.shape
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, 1, ceil(height / 2.5), ceil(width / 2.5), generator=generator)
    flakes = interpolate(0.55 + 0.3 * noise, size=(height, width), mode="bilinear")
    flakes = flakes.where(flakes >= 0.85, 0.0).clamp(0, 1)
    angles = -135 + 90 * torch.rand(count, generator=generator)
    flakes = torch.stack([streaked(one, angle) for one, angle in zip(flakes, angles.tolist(), strict=True)])
    grey = (pixels * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)
    paler = 0.55 * pixels + 0.45 * pixels.maximum(1.5 * grey + 0.5)
    return (paler + flakes + flakes.rot90(2, (2, 3))).clamp(0, 1)


def streaked(layer: Tensor, angle: float) -> Tensor:
    """A layer ``(1, H, W)``, blurred by motion along a direction in degrees."""
    steps = torch.arange(REACH, dtype=torch.float32)
    weights = (-(steps**2) / (2 * SPREAD**2)).exp()
    turn = radians(angle)
    moved = [
        weight * layer.roll((round(step * sin(turn)), round(step * cos(turn))), (1, 2))
        for step, weight in enumerate((weights / weights.sum()).tolist())
    ]
    return torch.stack(moved).sum(dim=0)


def pixelate(pixels: Tensor) -> Tensor:
    """A quarter of the side, by averages, and back."""
    small = interpolate(pixels, size=[side // 4 for side in pixels.shape[2:]], mode="area")
    return interpolate(small, size=pixels.shape[2:], mode="nearest")


def contrast(pixels: Tensor) -> Tensor:
    """A twentieth of the contrast, around each channel's mean."""
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    return (mean + 0.05 * (pixels - mean)).clamp(0, 1)


CORRUPTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian noise": gaussian_noise,
    "snow": snow,
    "pixelate": pixelate,
    "contrast": contrast,
}
"""Each takes pixels in [0, 1], ``(N, 3, H, W)``."""
