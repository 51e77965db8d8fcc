"""How a doctor looks at images."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import torch
from torch import nn

from captum_paramsal.attr import ModelDoctor
from captum_paramsal.doctor import Diagnosis, EvidenceSettings
from captum_paramsal.errors import ParamsalError

Evidence: TypeAlias = Literal["contribution", "gradient"]
"""What a channel gives to the score, the positive part of gradient times map; or how fast the score changes with it,
the absolute gradient, as in the paper."""


@dataclass(frozen=True)
class DoctorSettings:
    """What belongs to a checkup, apart from model and images.

    Attributes:
        layer: Name of the layer; the last feature maps before the head if None.
        evidence: "contribution" or "gradient". Where only a global average and a linear layer follow, gradients are the
            same for every image and in every place, and contributions are not.
        noise_samples: Perturbed copies of the maps.
        noise_range: Bound of the uniform noise.
        confidence: Softmax probability that an image must have to say what its class relies on.
        samples_per_class: How many such images of each class, the most confident ones.
        top_k: Channels that are named per mistake.
        cards: Mistakes with pictures in the report, the most confident first.
        batch_size: Images per pass; bounds memory, not the result.
        device: Where to compute; where the model is, if None.
        show_progress: Show progress bars.
    """

    layer: str | None = None
    evidence: Evidence = "contribution"
    noise_samples: int = 10
    noise_range: float = 0.1
    confidence: float = 0.9
    samples_per_class: int = 100
    top_k: int = 5
    cards: int = 100
    batch_size: int = 32
    device: str | torch.device | None = None
    show_progress: bool = True

    def __post_init__(self) -> None:
        if self.evidence not in ("contribution", "gradient"):
            message = f"Expected `evidence` to be 'contribution' or 'gradient', got {self.evidence!r}."
            raise ParamsalError(message)
        for name, least in (("top_k", 1), ("cards", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                message = f"Expected `{name}` to be at least {least}, got {getattr(self, name)}."
                raise ParamsalError(message)

    def doctor(self, model: nn.Module, diagnosis: Diagnosis | None) -> ModelDoctor:
        """A doctor with these settings; with those that a diagnosis was made with, if there is one.

        Raises:
            LayerError, InputError: See :class:`captum_paramsal.ModelDoctor`.
            ReferenceMismatchError: A diagnosis of other weights.
        """
        if diagnosis is None:
            multiplied = self.evidence == "contribution"
            samples, size = self.noise_samples, self.noise_range
            return ModelDoctor(
                model,
                self.layer,
                samples,
                size,
                reduce="relu" if multiplied else "abs",
                multiply_by_inputs=multiplied,
            )
        diagnosis.check(model)
        settings = {field.name: diagnosis.settings[field.name] for field in fields(EvidenceSettings)}
        return ModelDoctor(model, diagnosis.layer, **settings)
