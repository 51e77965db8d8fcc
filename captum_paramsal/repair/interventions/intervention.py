"""What is done to a filter: taken out, disturbed, or moved a step down the gradient of a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Inputs, ModelInputs, forward_scores, require_gradient
from captum_paramsal.errors import InputError, InterventionError
from captum_paramsal.functional import Loss, Target, cross_entropy, scores_at
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.repair.interventions.filter_parameters import ParameterSlice

Gradients = Mapping[int, Tensor]
"""Gradient of each parameter, by its ``id``."""


class Intervention(ABC):
    """New values for the slices of a filter.

    Attributes:
        name: In tables.
        needs_gradients: Whether the values depend on an image.
    """

    name: ClassVar[str]
    needs_gradients: ClassVar[bool] = False

    @abstractmethod
    def values(self, slices: Sequence[ParameterSlice], gradients: Gradients) -> list[Tensor]:
        """New values of each slice, which are not written anywhere yet.

        Args:
            slices: Of one filter.
            gradients: Of the loss, where they are needed.
        """


@dataclass(frozen=True)
class KnockOut(Intervention):
    """All of a filter's numbers are zero (Levin et al., section 4.1: pruning)."""

    name: ClassVar[str] = "knocked out"

    def values(self, slices: Sequence[ParameterSlice], gradients: Gradients) -> list[Tensor]:  # noqa: ARG002
        """Zeros."""
        return [torch.zeros_like(one.of(one.parameter.detach())) for one in slices]


@dataclass(frozen=True)
class Perturbation(Intervention):
    """Normal noise on a filter's numbers (Levin et al., figure 16). Each filter is disturbed once.

    Args:
        scale: Standard deviation of the noise; with ``relative``, its norm as a share of the slice's own.
        relative: See ``scale``.
        seed: Together with the filter's name it fixes the noise, whatever else is disturbed.

    Raises:
        InterventionError: A ``scale`` that is not above 0.
    """

    scale: float = 1.0
    relative: bool = False
    seed: int = 0

    name: ClassVar[str] = "perturbed"

    def __post_init__(self) -> None:
        if not (isfinite(self.scale) and self.scale > 0):
            message = f"Expected `scale` above 0, got {self.scale}."
            raise InterventionError(message)

    def values(self, slices: Sequence[ParameterSlice], gradients: Gradients) -> list[Tensor]:  # noqa: ARG002
        """The numbers with noise."""
        return [self._disturbed(one) for one in slices]

    def _disturbed(self, one: ParameterSlice) -> Tensor:
        now = one.of(one.parameter.detach())
        named = f"{self.seed} {one.layer} {one.name} {one.channel}".encode()
        generator = torch.Generator().manual_seed(int.from_bytes(blake2b(named, digest_size=7).digest(), "big"))
        noise = torch.randn(now.shape, generator=generator, dtype=torch.float64).to(now)
        length = now.norm() / noise.norm() if self.relative else 1.0
        return now + self.scale * length * noise


@dataclass(frozen=True)
class FineTuneStep(Intervention):
    """One step down the gradient of the loss (Levin et al., section 4.2; Wang and Sato, section 4.3).

    Args:
        learning_rate: Length of the step.

    Raises:
        InterventionError: A ``learning_rate`` that is not above 0.
    """

    learning_rate: float = 0.001

    name: ClassVar[str] = "fine-tuned"
    needs_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (isfinite(self.learning_rate) and self.learning_rate > 0):
            message = f"Expected `learning_rate` above 0, got {self.learning_rate}."
            raise InterventionError(message)

    def values(self, slices: Sequence[ParameterSlice], gradients: Gradients) -> list[Tensor]:
        """The numbers after the step."""
        return [
            one.of(one.parameter.detach()) - self.learning_rate * one.of(gradients[id(one.parameter)]) for one in slices
        ]


def weight_gradients(  # noqa: PLR0917 -- what Captum takes, and of what
    model: nn.Module,
    inputs: Inputs,
    target: Target,
    additional_forward_args: Any,
    parameters: Sequence[Tensor],
    loss: Loss = cross_entropy,
) -> dict[int, Tensor]:
    """Gradient of the mean loss of some images with respect to parameters, by their ``id``; zeros where unused.

    Raises:
        InputError: Images that the model cannot take, or a loss that is not finite.
        TargetError: ``target`` does not name one class per image.
    """
    batch = ModelInputs.of(inputs, target, additional_forward_args)
    kinds = list({id(one): one for one in parameters}.values())
    with frozen_eval(model, trainable=kinds):
        logits, labels = scores_at(require_gradient(forward_scores(model, batch)), batch.labels)
        mean = loss(logits, labels).mean()
        if not bool(mean.isfinite()):
            message = f"Expected a finite loss, got {mean.item()}."
            raise InputError(message)
        found = torch.autograd.grad(mean, kinds, allow_unused=True)
    return {
        id(one): torch.zeros_like(one) if gradient is None else gradient
        for one, gradient in zip(kinds, found, strict=True)
    }
