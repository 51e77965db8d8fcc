"""What became of mistakes while more and more filters were changed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.errors import InterventionError
from captum_paramsal.files.kinds import CURVE
from captum_paramsal.stats.bootstrap import bootstrap_means

_TENSORS = ("labels", "predicted", "wrong", "true", "corrected", "broken")

_ROUNDING = 0.01
"""Of a probability: passes of other sizes round otherwise, and hundreds of layers carry it on."""


@dataclass(frozen=True, eq=False)
class InterventionCurve:
    """N mistakes with their first 0, 1, ..., K filters changed.

    Attributes:
        intervention: What was done, in a word.
        labels: True classes, ``(N,)``.
        predicted: What the model said, ``(N,)``.
        wrong: Probability of that class, ``(N, K + 1)`` float64.
        true: Probability of the true class, ``(N, K + 1)`` float64.
        corrected: Whether the true class is predicted, ``(N, K + 1)`` bool.
        broken: Share of correctly classified control images that the same change turns into mistakes, ``(N, K + 1)``
            float64; NaN without control images.
        context: Model, settings, seeds.
    """

    intervention: str
    labels: Tensor
    predicted: Tensor
    wrong: Tensor
    true: Tensor
    corrected: Tensor
    broken: Tensor
    context: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def steps(self) -> int:
        """Most filters that are changed, K."""
        return self.wrong.shape[1] - 1

    def where(self, images: Tensor) -> InterventionCurve:
        """The curve of some of the images, ``(N,)`` bool.

        Raises:
            InterventionError: ``images`` is not one bool per image.
        """
        if images.shape != (len(self),) or images.dtype != torch.bool:
            message = f"Expected one bool per image, ({len(self)},), got {images.dtype} {tuple(images.shape)}."
            raise InterventionError(message)
        return replace(self, **{name: getattr(self, name)[images] for name in _TENSORS})

    def measures(self) -> dict[str, Tensor]:
        """What is averaged over images, each ``(N, K + 1)``: changes of probabilities, and shares."""
        return {
            "change of wrong class": self.wrong - self.wrong[:, :1],
            "change of true class": self.true - self.true[:, :1],
            "corrected": self.corrected.double(),
            "correct images broken": self.broken,
        }

    def summary(self, seed: int = 0) -> dict[str, Tensor]:
        """Mean and the ends of its 95 % bootstrap interval over images, ``(3, K + 1)`` each.

        ``viz.intervention_plot(torch.stack([one["corrected"], other["corrected"]]), names)`` draws them.

        Args:
            seed: Fixes the resampling.
        """
        return {name: bootstrap_means(values, seed) for name, values in self.measures().items()}

    def to_table(self, at: Sequence[int] | None = None, seed: int = 0) -> list[dict[str, Any]]:
        """One row for each number of changed filters, with mean, low and high of every measure.

        Args:
            at: Which numbers of filters; all by default.
            seed: Fixes the resampling.

        Raises:
            InterventionError: A number in ``at`` is above K.
        """
        chosen = list(range(self.steps + 1)) if at is None else list(at)
        beyond = [k for k in chosen if not 0 <= k <= self.steps]
        if beyond:
            message = f"Expected numbers of filters from 0 to {self.steps}, got {beyond[0]}."
            raise InterventionError(message)
        summary = self.summary(seed)
        return [
            {
                "intervention": self.intervention,
                "filters": k,
                "images": len(self),
                **{
                    f"{name}{suffix}": values[row, k].item()
                    for name, values in summary.items()
                    for row, suffix in enumerate(("", " low", " high"))
                },
            }
            for k in chosen
        ]

    def difference(self, other: InterventionCurve, seed: int = 0) -> dict[str, Tensor]:
        """Mean paired difference to another curve of the same images, ``(3, K + 1)`` with its interval, by measure.

        Raises:
            InterventionError: ``other`` is of other images, or has another number of filters.
        """
        self._require_same_images(other)
        pairs = zip(self.measures().items(), other.measures().values(), strict=True)
        return {name: bootstrap_means(values - others, seed) for (name, values), others in pairs}

    def _require_same_images(self, other: InterventionCurve) -> None:
        if self.wrong.shape != other.wrong.shape:
            ours, theirs = (f"{len(each)} images and {each.steps} filters" for each in (self, other))
            message = f"Expected curves of the same images with as many filters, got {ours}, and {theirs}."
            raise InterventionError(message)
        gaps = (self.wrong[:, 0] - other.wrong[:, 0]).abs()
        differing = ((self.labels != other.labels) | ~(gaps <= _ROUNDING)).nonzero()[:, 0].tolist()
        if differing:
            first = differing[0]
            got = (
                f"label {int(each.labels[first])} with a most probable class of {each.wrong[first, 0]:.4f}"
                for each in (self, other)
            )
            message = (
                f"Expected curves of the same images, got {len(differing)} of {len(self)} that differ before any "
                f"filter is changed; number {first} has {', and '.join(got)}. Make both of the same images in order."
            )
            raise InterventionError(message)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            InterventionError: ``path`` cannot be written.
        """
        tensors = {name: getattr(self, name) for name in _TENSORS}
        CURVE.save(path, tensors, {"intervention": self.intervention, "context": dict(self.context)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> InterventionCurve:
        """Read a curve that was saved, whole or not at all.

        Raises:
            InterventionError: ``path`` cannot be read, is damaged, or is not a curve of a version that is known.
        """
        return CURVE.load(
            path,
            lambda tensors, content: cls(intervention=content["intervention"], context=content["context"], **tensors),
        )

    @classmethod
    def of(
        cls, intervention: str, scores: Tensor, labels: Tensor, broken: Tensor, context: Mapping[str, Any]
    ) -> InterventionCurve:
        """From class scores ``(N, K + 1, C)``."""
        probabilities = scores.double().softmax(dim=2)
        predicted = scores[:, 0].argmax(dim=1)
        rows = torch.arange(len(labels))
        return cls(
            intervention,
            labels=labels,
            predicted=predicted,
            wrong=probabilities[rows, :, predicted],
            true=probabilities[rows, :, labels],
            corrected=scores.argmax(dim=2) == labels[:, None],
            broken=broken,
            context=context,
        )
