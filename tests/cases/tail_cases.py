"""Small networks with a reference set large enough for tails, and what oracles say about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from cases import networks as nets
from cases.images import image
from oracles.parameter_saliency import matrix, profile_loop
from oracles.weights import seeded
from torch import Tensor, nn

from captum_paramsal import Reference

REFERENCE_IMAGES = 80


class Residual(nets.Classifier):
    """A block with batch normalisation beside a shortcut with a projection, activations in place."""

    def __init__(self) -> None:
        super().__init__(6)
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(6)
        self.outer = nn.Conv2d(6, 6, 3, padding=1)
        self.project = nn.Conv2d(4, 6, 1, stride=2)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.stem(x)))
        y = self.outer(self.relu(self.norm2(self.inner(x))))
        y += self.project(x)
        return self.classify(self.relu(y))


def chain(*middle: nn.Module, channels: int) -> nn.Module:
    """Two channels in, three classes out."""
    first = nn.Conv2d(2, 4, 3, padding=1)
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(first, nn.ReLU(inplace=True), *middle, nn.ELU(), pool, nn.Flatten(), nn.Linear(channels, 3))


def with_dead_filter() -> nn.Module:
    """Channel 2 of the first convolution is below zero for every image; channel 0 of the third is written over."""
    model = seeded(nets.InPlace().double())
    with torch.no_grad():
        model.first.bias[2] = -1e3
    return model


@dataclass(frozen=True)
class Case:
    """A float64 model in evaluation mode, its reference set and images to score.

    Attributes:
        model: In evaluation mode.
        layers: Names in the order of the scores.
        select: What the package gets as ``layers``.
        reference: ``(80, 2, 6, 6)`` and labels.
        images: ``(4, 2, 6, 6)`` and labels: of a hundred that are not in the reference, the four that strain the most
            filters, so that a tail has something to say about each.
    """

    model: nn.Module
    layers: tuple[str, ...]
    select: Any
    reference: tuple[Tensor, Tensor]
    images: tuple[Tensor, Tensor]

    def profiles(self) -> Tensor:
        """``(80, F)`` of the reference, by the loop."""
        return matrix(profile_loop(self.model, *self.reference, self.layers))

    def scored_profiles(self) -> Tensor:
        """``(4, F)`` of the images, by the loop."""
        return matrix(profile_loop(self.model, *self.images, self.layers))

    def fit(self, **arguments: Any) -> Reference:
        x, y = self.reference
        batches = list(zip(x.split(33), y.split(33), strict=True))
        return Reference.fit(self.model, batches, layers=self.select, show_progress=False, **arguments)


def case(model: nn.Module, layers: str, select: Any = None) -> Case:
    reference = image(REFERENCE_IMAGES, 2, 6, 6, seed=31)
    reference = reference * torch.linspace(0.5, 1.5, REFERENCE_IMAGES).double()[:, None, None, None]
    if not isinstance(model, nets.InPlace):
        seeded(model.double(), reference, seed=5)
    names = tuple(layers.split())
    labels, pool = torch.arange(REFERENCE_IMAGES) % 3, (image(100, 2, 6, 6, seed=32), torch.arange(100) % 3)
    usual = matrix(profile_loop(model, reference, labels, names)).quantile(0.6, dim=0)
    strained = (matrix(profile_loop(model, *pool, names)) > usual).sum(dim=1).topk(4).indices
    return Case(model, names, select, (reference, labels), (pool[0][strained], pool[1][strained]))


TAIL_CASES: dict[str, Callable[[], Case]] = {
    "in-place, dead filters": cache(lambda: case(with_dead_filter(), "first second third")),
    "shared layer": cache(lambda: case(nets.Twice(), "stem shared")),
    "grouped": cache(lambda: case(chain(nn.Conv2d(4, 6, 3, groups=2), channels=6), "0 2")),
    "depthwise": cache(lambda: case(chain(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 5, 1), channels=5), "0 2 3")),
    "residual": cache(lambda: case(Residual(), "stem inner outer project")),
    "rows of Linear": cache(
        lambda: case(chain(nn.Conv2d(4, 5, 3, stride=2), channels=5), "0 2 6", [nn.Conv2d, nn.Linear])
    ),
}
