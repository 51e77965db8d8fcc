"""What is done to a filter: knocked out, perturbed, or moved a step down the gradient of a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Inputs, ModelInputs
from captum_paramsal.errors import InterventionError
from captum_paramsal.functional import Loss, Target, cross_entropy
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.profiles import ParameterSlice, losses_of

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
        return [torch.zeros_like(part.of(part.parameter.detach())) for part in slices]


@dataclass(frozen=True)
class Perturbation(Intervention):
    """Normal noise on a filter's numbers (Levin et al., figure 16). Each filter is perturbed once.

    Args:
        scale: Standard deviation of the noise; with ``relative``, its norm as a share of the slice's own.
        relative: See ``scale``.
        seed: Together with the filter's name it fixes the noise, whatever else is perturbed.

    Raises:
        InterventionError: ``scale`` is not above 0.
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
        return [self._perturbed(part) for part in slices]

    def _perturbed(self, part: ParameterSlice) -> Tensor:
        numbers = part.of(part.parameter.detach())
        # A seed from the filter's name: the same noise whichever other filters are perturbed, and in whatever order.
        named = f"{self.seed} {part.layer} {part.name} {part.channel}".encode()
        generator = torch.Generator().manual_seed(int.from_bytes(blake2b(named, digest_size=7).digest(), "big"))
        noise = torch.randn(numbers.shape, generator=generator, dtype=torch.float64).to(numbers)
        length = numbers.norm() / noise.norm() if self.relative else 1.0
        return numbers + self.scale * length * noise


@dataclass(frozen=True)
class FineTuneStep(Intervention):
    """One step down the gradient of the loss (Levin et al., section 4.2; Wang and Sato, section 4.3).

    Args:
        learning_rate: Length of the step.

    Raises:
        InterventionError: ``learning_rate`` is not above 0.
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
            part.of(part.parameter.detach()) - self.learning_rate * part.of(gradients[id(part.parameter)])
            for part in slices
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
        InputError: The model cannot take the images, or the loss is not finite.
        TargetError: ``target`` does not name one class per image.
    """
    own_loss = loss is not cross_entropy
    batch = ModelInputs.of(inputs, target, additional_forward_args, model=model, any_target=own_loss)
    distinct = list({id(parameter): parameter for parameter in parameters}.values())
    # With all of them in the graph, one without a gradient is unused, and the scores have one all the same.
    floating = [each for each in model.parameters() if each.is_floating_point() and not each.is_inference()]
    with frozen_eval(model, trainable=[*floating, *distinct]):
        losses, _ = losses_of(model, loss, batch)
        gradients = torch.autograd.grad(losses.mean(), distinct, allow_unused=True)
    return {
        id(parameter): torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(distinct, gradients, strict=True)
    }
