"""Altered copies of images, and forward passes on them, that are the same for every method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from captum_paramsal.batch import ModelInputs, forward_scores
from captum_paramsal.metrics.perturbations import ImagePerturbation, perturbed_copies

_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False)
class _Made:
    asked: tuple[Any, ...]
    images: Tensor
    made: Any


@dataclass(frozen=True, eq=False)
class _Pass:
    model: Callable[..., Tensor]
    arguments: tuple[Any, ...]
    output: Tensor


class SharedPasses:
    """Remembers what a model made of some images and of their copies, for the next method on the same images.

    It holds the copies too, and what else is made of images: make a new one for each batch of images, and drop it with
    them.
    """

    def __init__(self) -> None:
        self._made: list[_Made] = []
        self._passes: list[_Pass] = []

    def copies(self, images: Tensor, perturbation: ImagePerturbation, seed: int, samples: range) -> Tensor:
        """Perturbed copies, made once; see :func:`perturbed_copies`."""
        asked = (perturbation, seed, samples)
        return self.made_of(images, asked, lambda: perturbed_copies(images, perturbation, seed, samples))

    def made_of(self, images: Tensor, asked: tuple[Any, ...], make: Callable[[], _Value]) -> _Value:
        """What is made of images, made once; what it is, `asked` says."""
        for known in self._made:
            if known.asked == asked and _same(known.images, images):
                found: _Value = known.made
                return found
        made = make()
        self._made.append(_Made(asked, images, made))
        return made

    def replaying(self, model: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A function that gives what the model gives, and does not run it twice on equal arguments."""

        def forward(*arguments: Any) -> Tensor:
            for known in self._passes:
                if known.model is model and _same(known.arguments, arguments):
                    return known.output
            images, *extra = arguments
            output = forward_scores(model, ModelInputs.of(images, None, tuple(extra)), binary=True)
            self._passes.append(_Pass(model, arguments, output))
            return output

        return forward


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        kind = one.shape, one.dtype, one.device
        return kind == (other.shape, other.dtype, other.device) and torch.equal(one, other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and isinstance(one, (bool, int, float, str)) and one == other
