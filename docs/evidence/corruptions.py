"""Photos corrupted as in ImageNet-C, at its five severities (Hendrycks, Dietterich, arXiv 1903.12261)."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, cos, radians, sin

import torch
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ["CORRUPTIONS", "SEVERITIES"]

SEVERITIES = (1, 2, 3, 4, 5)
NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
SIDE = (0.6, 0.5, 0.4, 0.3, 0.25)


@dataclass(frozen=True)
class Snowfall:
    """Snow of one severity.

    Attributes:
        mean: Of the normal noise that flakes are made of.
        std: Of the noise.
        size: How much flakes are enlarged.
        threshold: Noise below it is no flake.
        reach: Pixels that a flake is drawn out over.
        spread: Standard deviation of its weight along them.
        kept: Of the photo, where the rest is paler.
    """

    mean: float
    std: float
    size: float
    threshold: float
    reach: int
    spread: float
    kept: float


SNOW = (
    Snowfall(0.1, 0.3, 3, 0.5, 21, 4, 0.8),
    Snowfall(0.2, 0.3, 2, 0.5, 25, 4, 0.7),
    Snowfall(0.55, 0.3, 4, 0.9, 25, 8, 0.7),
    Snowfall(0.55, 0.3, 4.5, 0.85, 25, 8, 0.65),
    Snowfall(0.55, 0.3, 2.5, 0.85, 25, 12, 0.55),
)


def gaussian_noise(pixels: Tensor, severity: int = 5) -> Tensor:
    """Normal noise on pixels in [0, 1]."""
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    return (pixels + NOISE[severity - 1] * noise).clamp(0, 1)


def snow(pixels: Tensor, severity: int = 5) -> Tensor:
    """A paler photo behind two layers of streaks, one of them the other rotated by 180 degrees."""
    fall = SNOW[severity - 1]
    count, _, height, width = pixels.shape
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, 1, ceil(height / fall.size), ceil(width / fall.size), generator=generator)
    flakes = interpolate(fall.mean + fall.std * noise, size=(height, width), mode="bilinear")
    flakes = flakes.where(flakes >= fall.threshold, 0.0).clamp(0, 1)
    angles = (-135 + 90 * torch.rand(count, generator=generator)).tolist()
    flakes = torch.stack([streaked(one, angle, fall) for one, angle in zip(flakes, angles, strict=True)])
    grey = (pixels * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)
    paler = fall.kept * pixels + (1 - fall.kept) * pixels.maximum(1.5 * grey + 0.5)
    return (paler + flakes + flakes.rot90(2, (2, 3))).clamp(0, 1)


def streaked(layer: Tensor, angle: float, fall: Snowfall = SNOW[-1]) -> Tensor:
    """A layer ``(1, H, W)``, blurred by motion along a direction in degrees."""
    steps = torch.arange(fall.reach, dtype=torch.float32)
    weights = (-(steps**2) / (2 * fall.spread**2)).exp()
    turn = radians(angle)
    moved = [
        weight * layer.roll((round(step * sin(turn)), round(step * cos(turn))), (1, 2))
        for step, weight in enumerate((weights / weights.sum()).tolist())
    ]
    return torch.stack(moved).sum(dim=0)


def pixelate(pixels: Tensor, severity: int = 5) -> Tensor:
    """A share of the side, by averages, and back."""
    small = interpolate(pixels, size=[int(SIDE[severity - 1] * side) for side in pixels.shape[2:]], mode="area")
    return interpolate(small, size=pixels.shape[2:], mode="nearest")


def contrast(pixels: Tensor, severity: int = 5) -> Tensor:
    """Less contrast around each channel's mean."""
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    return (mean + CONTRAST[severity - 1] * (pixels - mean)).clamp(0, 1)


CORRUPTIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "gaussian noise": gaussian_noise,
    "snow": snow,
    "pixelate": pixelate,
    "contrast": contrast,
}
"""Each takes pixels in [0, 1], ``(N, 3, H, W)``, and the severity, from 1 to 5."""
