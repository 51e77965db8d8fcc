"""What every place of every channel of a layer has to say for a class: how it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.doctor.layer_pass import LayerActivations, Score
from captum_paramsal.errors import InputError
from captum_paramsal.functional import Noise, Reduce, disturbances, evidence_of

_WORDS = {"noise": ("uniform", "normal"), "reduce": ("abs", "relu"), "score": ("logit", "probability")}


@dataclass(frozen=True)
class EvidenceSettings:
    """How evidence is taken; see :class:`captum_paramsal.ModelDoctor` for what each of these means.

    Raises:
        InputError: One is out of range.
    """

    noise_samples: int = 10
    noise_range: float = 0.1
    noise: Noise = "uniform"
    reduce: Reduce = "abs"
    score: Score = "logit"
    multiply_by_inputs: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        samples, size = self.noise_samples, self.noise_range
        if not isinstance(samples, int) or samples < 0 or not isfinite(size) or size < 0:
            message = f"Expected `noise_samples` and `noise_range` of at least 0, got {samples!r} and {size!r}."
            raise InputError(message)
        for name, known in _WORDS.items():
            if getattr(self, name) not in known:
                message = f"Expected `{name}` to be {' or '.join(map(repr, known))}, got {getattr(self, name)!r}."
                raise InputError(message)

    def as_dict(self) -> dict[str, Any]:
        """The settings, as JSON has them."""
        return asdict(self)

    def evidence(self, seen: LayerActivations, rows: Tensor, size: int | None = None) -> Tensor:
        """Mean evidence over the perturbed copies, ``(N, K, H, W)``.

        Args:
            seen: Images at a layer.
            rows: Classes ``(N, D)``.
            size: Images, each copy counted, in one pass; None for as many as are fast.

        Returns:
            In the type of the maps; float32 for half precision.

        Raises:
            InputError: Gradients that are not finite.
        """
        half = seen.maps.dtype in (torch.float16, torch.bfloat16)
        total = torch.zeros_like(seen.maps, dtype=torch.float32 if half else None)
        noise = self.noise_for(seen.maps.shape[1:])
        for some in noise.split(seen.copies(size)):
            copies = seen.maps + some[:, None].to(seen.maps)
            gradients = seen.gradients(copies.flatten(0, 1), rows, self.score).view_as(copies)
            multiplied = self.multiply_by_inputs
            for gradient in gradients:
                total += evidence_of(gradient, seen.maps, reduce=self.reduce, multiply_by_inputs=multiplied)
        total /= len(noise)
        if not torch.isfinite(total).all():
            image = int((~torch.isfinite(total)).flatten(1).any(dim=1).nonzero()[0]) + seen.batch.start
            message = f"Expected finite gradients at the layer, got NaN or infinity for image {image}."
            raise InputError(message)
        return total

    def noise_for(self, shape: Sequence[int]) -> Tensor:
        """What is added to maps of this shape ``(K, H, W)`` in each copy, ``(J, K, H, W)``; one of zeros for none."""
        if not self.noise_samples or not self.noise_range:
            return torch.zeros(1, *shape)
        return disturbances(self.noise_samples, shape, self.noise_range, self.noise, self.seed)
