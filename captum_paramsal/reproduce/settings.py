"""How much of a figure is made: sizes, sets of layers, device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from typing_extensions import Self

from captum_paramsal.errors import ParamsalError
from captum_paramsal.profiles import LayerSelection

_AT_LEAST_ONE = ("mistakes", "knocked", "tuned", "neighbors", "shown", "stages", "controls", "batch_size")


@dataclass(frozen=True)
class ReproduceSettings:
    """What belongs to a figure, apart from model and images. The defaults take minutes on two cores.

    Attributes:
        images: Images at most, evenly spread over all; None for all. Without a reference, every second one is for the
            reference, and the others for everything else.
        mistakes: Mistakes of curves, of steps and of maps, evenly spread over all; None for all.
        knocked: Filters that are knocked out in the end.
        tuned: Filters that are fine-tuned, or perturbed, in the end.
        learning_rate: Length of the step.
        neighbors: Nearest neighbours of each mistake.
        shown: Mistakes in a picture.
        stages: Steps in which a network forgets, from its last layer to its first.
        controls: Correctly classified images on which the change that is made for a mistake is tried too.
        early: Patterns of the layers that are early, for neighbours; the first half by default.
        last: Patterns of the layers that are the last stage; the last quarter by default.
        layers: Layers to score; by default those of the reference, or the default layers, see
            :func:`captum_paramsal.profiles.layers.select_layers`.
        seed: Fixes random orders, noise, control images and random weights.
        batch_size: Images at once.
        device: Where to compute; where the model is, if None.
        show_progress: Show progress bars.

    Raises:
        ParamsalError: A size below 1, fewer than four images, or a learning rate that is not above 0.
    """

    images: int | None = 400
    mistakes: int | None = 16
    knocked: int = 50
    tuned: int = 25
    learning_rate: float = 0.001
    neighbors: int = 10
    shown: int = 4
    stages: int = 4
    controls: int = 1
    early: Sequence[str] | None = None
    last: Sequence[str] | None = None
    layers: LayerSelection | None = None
    seed: int = 0
    batch_size: int = 32
    device: str | torch.device | None = None
    show_progress: bool = True

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and value < 1:
                message = f"Expected `{name}` to be at least 1, got {value}."
                raise ParamsalError(message)
        if self.images is not None and self.images < 4:
            message = f"Expected `images` to be at least 4, two of them for the reference, got {self.images}."
            raise ParamsalError(message)
        if not self.learning_rate > 0:
            message = f"Expected `learning_rate` above 0, got {self.learning_rate}."
            raise ParamsalError(message)

    @classmethod
    def full(cls, **others: Any) -> Self:
        """The papers' sizes: every image, and every mistake among them.

        Args:
            others: What differs from that.

        >>> ReproduceSettings.full(device="cuda").images is None
        True
        """
        return cls(**{"images": None, "mistakes": None, **others})
