"""What an attribution is tried on: a model, what it takes, and a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from contract import models
from oracles.weights import seeded
from torch import Tensor, nn

CLASSES = 5
IMAGES = 6


@dataclass(frozen=True)
class Sample:
    """A model in evaluation mode with a batch of six.

    Attributes:
        name: For the test's name.
        model: float64 unless converted.
        inputs: A tensor or a tuple of tensors.
        target: One label per example.
        extra: ``additional_forward_args``.
        layers: Layers to attribute to, by a type; ``None`` for the default.
        layer: Name of a layer, for classes of one layer; an activation in place follows the default.
    """

    name: str
    model: nn.Module
    inputs: Any
    target: Any
    extra: Any = None
    layers: Any = None
    layer: str = "bn"

    @property
    def count(self) -> int:
        return len(self.inputs[0] if isinstance(self.inputs, tuple) else self.inputs)

    def reference_batches(self) -> list[tuple[Any, ...]]:
        """Two batches for methods that need a reference set."""
        every = self.rows(slice(None)), self.rows(slice(0, 3))
        return [(s.inputs, s.target, *(() if s.extra is None else (s.extra,))) for s in every]

    def many_reference_batches(self, count: int = 60) -> list[tuple[Any, ...]]:
        """``count`` examples like these and none of these, for methods that need the tail of every filter.

        An example of the reference may be a filter's threshold itself, and then rounding decides on which side of it
        the same example falls.
        """
        generator = torch.Generator().manual_seed(41)
        repeats = -(-count // self.count)

        def like(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(like(v) for v in value)
            if not (isinstance(value, Tensor) and value.ndim > 0 and len(value) == self.count):
                return value
            many = value.detach().repeat(repeats, *[1] * (value.ndim - 1))[:count]
            if many.is_floating_point():
                return many + many.std() * torch.randn(many.shape, generator=generator).to(many)
            return torch.randint(int(many.min()), int(many.max()) + 1, many.shape, generator=generator).to(many)

        if isinstance(self.target, list):
            target: Any = (self.target * repeats)[:count]
        else:
            per_example = isinstance(self.target, Tensor) and self.target.numel() == self.count
            target = self.target.repeat(repeats)[:count] if per_example else self.target
        inputs, extra = like(self.inputs), like(self.extra)
        return [(inputs, target, *(() if extra is None else (extra,)))]

    def rows(self, which: slice | list[int]) -> Sample:
        """The same with some of the examples only, in the order asked for."""

        def take(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(take(v) for v in value)
            per_example = isinstance(value, Tensor) and value.ndim > 0 and len(value) == self.count
            return value[which] if per_example else value

        if isinstance(self.target, list):
            indices = range(self.count)[which] if isinstance(which, slice) else which
            target: Any = [self.target[n] for n in indices]
        else:
            target = take(self.target)
        return Sample(self.name, self.model, take(self.inputs), target, take(self.extra), self.layers, self.layer)

    def arguments(self) -> dict[str, Any]:
        return {"inputs": self.inputs, "target": self.target, "additional_forward_args": self.extra}


def noise(*shape: int, seed: int = 21) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


LABELS = torch.tensor([0, 1, 2, 3, 4, 2])


def small(model: nn.Module | None = None, name: str = "small") -> Sample:
    images = noise(IMAGES, 3, 8, 8)
    # With this seed the six predictions name four classes.
    return Sample(name, seeded((model or models.SmallNet()).double(), images, seed=36), images, LABELS)


def reused() -> Sample:
    return Sample("reused", seeded(models.ReusedNet().double()), noise(IMAGES, 3, 8, 8), LABELS, layer="shared")


def two_inputs() -> Sample:
    inputs = (noise(IMAGES, 3, 6, 6), noise(IMAGES, 2, 7, 7, seed=22))
    extra = (torch.linspace(0.5, 2, IMAGES).double(), 2, False, None)
    return Sample("two inputs", seeded(models.TwoInputNet().double()), inputs, LABELS, extra, layer="left")


def dense() -> Sample:
    places = [(int(c), n % 3, (2 * n) % 5) for n, c in enumerate(LABELS)]
    return Sample("dense", seeded(models.DenseNet().double()), noise(IMAGES, 3, 6, 6), places, layer="conv2")


def tokens() -> Sample:
    numbers = torch.randint(11, (IMAGES, 7), generator=torch.Generator().manual_seed(4))
    return Sample(
        "tokens", seeded(models.TokenNet().double()), numbers, LABELS, layer="conv", layers=[..., "embedding"]
    )


SAMPLES: dict[str, Callable[[], Sample]] = {
    "small": small,
    "reused": reused,
    "two inputs": two_inputs,
    "dense": dense,
    "tokens": tokens,
}
