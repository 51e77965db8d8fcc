"""Copies of images, perturbed at random, the same ones whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from math import inf
from typing import TypeAlias

import torch
from torch import Tensor

from captum_paramsal.errors import InputError

ImagePerturbation: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
"""A perturbed copy of an image ``(C, H, W)``, drawn with a generator on the CPU."""


@dataclass(frozen=True)
class GaussianNoise:
    """Normal noise on every value of an image.

    Args:
        std: Standard deviation, in units of the inputs.

    Raises:
        InputError: ``std`` is not above 0.
    """

    std: float

    def __post_init__(self) -> None:
        _require_positive("std", self.std)

    def __call__(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """The image and noise."""
        noise = torch.randn(image.shape, generator=generator) * self.std
        return image + noise.to(image)


@dataclass(frozen=True)
class UniformNoise:
    """Noise on every value of an image, uniform within ``radius`` of it, as Captum's ``sensitivity_max`` has it.

    Args:
        radius: Largest change, in units of the inputs.

    Raises:
        InputError: ``radius`` is not above 0.
    """

    radius: float

    def __post_init__(self) -> None:
        _require_positive("radius", self.radius)

    def __call__(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """The image and noise."""
        noise = (2 * torch.rand(image.shape, generator=generator) - 1) * self.radius
        return image + noise.to(image)


@dataclass(frozen=True)
class SquareRemoval:
    """One square of an image, anywhere in it, gives way to a constant.

    Args:
        share: Side of the square, as a share of the shorter side of the image.
        value: What is seen there, in units of the inputs; 0 is what Captum's methods take for their baseline too.

    Raises:
        InputError: ``share`` is not in (0, 1].
    """

    share: float = 0.25
    value: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            message = f"Expected `share` above 0, up to 1, of the image's shorter side, got {self.share}."
            raise InputError(message)

    def __call__(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """The image without a square."""
        height, width = image.shape[1:]
        side = max(1, round(self.share * min(height, width)))
        y, x = (int(torch.randint(whole - side + 1, (), generator=generator)) for whole in (height, width))
        copy = image.clone()
        copy[:, y : y + side, x : x + side] = self.value
        return copy


def perturbed_copies(images: Tensor, perturbation: ImagePerturbation, seed: int, samples: range) -> Tensor:
    """Some of the perturbed copies of each image.

    A copy depends on the image's values, the seed and its own number, on nothing else.

    Args:
        images: ``(N, C, H, W)``.
        perturbation: What makes a copy.
        seed: Another seed gives other copies.
        samples: Numbers of the copies, n of them.

    Returns:
        ``(N * n, C, H, W)``, the copies of an image side by side.

    Raises:
        InputError: A copy of another shape.

    >>> images = torch.rand(2, 1, 4, 4)
    >>> both = perturbed_copies(images, GaussianNoise(0.1), seed=0, samples=range(3))
    >>> second = perturbed_copies(images[1:], GaussianNoise(0.1), seed=0, samples=range(1, 3))
    >>> torch.equal(both[4:], second)
    True
    """
    copies = [
        perturbation(image, generator)
        for image, generators in zip(images, image_generators(images, seed, samples), strict=True)
        for generator in generators
    ]
    if copies and copies[0].shape != images.shape[1:]:
        message = f"Expected copies of the image's shape, {tuple(images.shape[1:])}, got {tuple(copies[0].shape)}."
        raise InputError(message)
    return torch.stack(copies)


def image_generators(images: Tensor, seed: int, samples: range) -> Iterator[Iterator[torch.Generator]]:
    """For each image a random generator per sample, seeded by the image's values, the seed and the sample's number."""
    for image in images.detach().cpu():
        values = image.contiguous().view(torch.uint8).numpy().tobytes()
        yield _generators(blake2b(values, digest_size=16).digest(), seed, samples)


def _generators(image: bytes, seed: int, samples: range) -> Iterator[torch.Generator]:
    for sample in samples:
        digest = blake2b(f"{seed} {sample}".encode(), key=image, digest_size=8).digest()
        yield torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))


def _require_positive(name: str, value: float) -> None:
    if not 0 < value < inf:
        message = f"Expected `{name}` above 0, in units of the inputs, got {value}."
        raise InputError(message)
