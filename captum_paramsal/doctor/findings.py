"""What the channels of a layer show in single images, beside what they show in images of the predicted class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isnan
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.doctor.diagnosis import Diagnosis
from captum_paramsal.files.kinds import FINDINGS
from captum_paramsal.functional import channel_correlation, cosine
from captum_paramsal.stats import FilterTails, UpperTail, median
from captum_paramsal.summary import Summarized

LEVEL = 0.05
"""Tail probability from which on down a channel counts as one that should not speak as it does."""

EXTRAPOLATED = 500
"""Usual images from which on probabilities go beyond what counting can tell."""


@dataclass(frozen=True, eq=False, repr=False)
class Findings(Summarized):
    """Evidence for the predicted class of M images, channel by channel.

    Made by :meth:`captum_paramsal.ModelDoctor.diagnose`.

    Attributes:
        images: Number of each image in the batch, ``(M,)``.
        labels: True classes, ``(M,)``.
        predicted: Predicted classes, ``(M,)``.
        confidence: Softmax probability of the predicted class, ``(M,)``.
        correlation: Evidence of each channel for the predicted class, summed over places, ``(M, K)``.
        usual: Its median over images of the predicted class that the model is right about, ``(M, K)``; NaN for none.
        p_values: Probability that such an image shows as much or more, ``(M, K)``; NaN for none.
        for_predicted: Channels that the predicted class relies on, ``(M, K)`` bool.
        for_label: Channels that the true class relies on, ``(M, K)`` bool.
        deviation: 1 - cosine of ``correlation`` and the predicted class's row of the diagnosis, ``(M,)``.
        evidence: Evidence for the predicted class at each place, summed over channels, ``(M, H, W)``.
        wrong_evidence: The same over the channels with a tail probability of at most 0.05, ``(M, H, W)``.
        background: Share of the evidence outside of the object's mask, ``(M,)``; NaN without a mask.
        wrong_background: The same of the wrong evidence.
        background_area: The same of an even map: the share of the places outside of the mask.
    """

    images: Tensor
    labels: Tensor
    predicted: Tensor
    confidence: Tensor
    correlation: Tensor
    usual: Tensor
    p_values: Tensor
    for_predicted: Tensor
    for_label: Tensor
    deviation: Tensor
    evidence: Tensor
    wrong_evidence: Tensor
    background: Tensor
    wrong_background: Tensor
    background_area: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def wrong(self) -> Tensor:
        """Channels with a tail probability of at most 0.05, ``(M, K)`` bool; 5 % of them in a usual image too."""
        return self.p_values <= LEVEL

    def top(self, k: int = 5) -> list[list[tuple[int, float]]]:
        """Per image the k channels that should speak least, with their tail probabilities, the least probable first.

        Of equal probabilities the channel with more evidence above the usual comes first.
        """
        excess = (self.correlation - self.usual).nan_to_num(0.0)
        best = []
        for p_values, above in zip(self.p_values.tolist(), excess.tolist(), strict=True):
            order = sorted(range(len(above)), key=lambda c: (p_values[c], -above[c]))
            best.append([(channel, p_values[channel]) for channel in order[:k] if not isnan(p_values[channel])])
        return best

    def to_table(self, k: int = 5) -> list[dict[str, Any]]:
        """One row per image and channel, the k channels of :meth:`top`."""
        rows = []
        for i, channels in enumerate(self.top(k)):
            about = {name: getattr(self, name)[i].item() for name in ("images", "labels", "predicted", "confidence")}
            shares = {name: getattr(self, name)[i].item() for name in ("deviation", "background", "background_area")}
            for rank, (channel, p_value) in enumerate(channels, start=1):
                values = {
                    "correlation": self.correlation[i, channel].item(),
                    "usual": self.usual[i, channel].item(),
                    "p_value": p_value,
                    "for_predicted": bool(self.for_predicted[i, channel]),
                    "for_label": bool(self.for_label[i, channel]),
                }
                rows.append({**about, **shares, "rank": rank, "channel": channel, **values})
        return rows

    @classmethod
    def joined(cls, parts: Sequence[Findings]) -> Findings:
        """Findings of all images of one layer; at least one part."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            DiagnosisFileError: The file cannot be written.
        """
        FINDINGS.save(path, {field.name: getattr(self, field.name) for field in fields(self)}, {})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Findings:
        """Read a file of findings, whole or not at all.

        Raises:
            DiagnosisFileError: No such file, damaged, truncated, or not findings of a version that is known.
        """
        return FINDINGS.load(path, lambda tensors, _: cls(**tensors))

    @classmethod
    def of(
        cls,
        diagnosis: Diagnosis,
        evidence: Tensor,
        *,
        images: Tensor,
        labels: Tensor,
        probabilities: Tensor,
        foreground: Tensor | None,
    ) -> Findings:
        """Compare images with those of their predicted classes.

        Args:
            diagnosis: What the classes show.
            evidence: For the predicted class, ``(M, K, H, W)``.
            images: Number of each image.
            labels: True classes, ``(M,)``.
            probabilities: Softmax probabilities, ``(M, classes)``.
            foreground: Share of each place that the object covers, ``(M, H, W)``.
        """
        maps = evidence.double()
        correlation = channel_correlation(evidence).double()
        confidence, predicted = probabilities.max(dim=1)
        usual, p_values = torch.full_like(correlation, torch.nan), torch.full_like(correlation, torch.nan)
        for label in predicted.unique().tolist():
            rows, answered = diagnosis.usual_of(label).double(), predicted == label
            if len(rows):
                usual[answered] = median(rows)
                p_values[answered] = upper_tail_probability(correlation[answered], rows)
        relevant = diagnosis.relevant()
        wrong = (maps * (p_values <= LEVEL)[:, :, None, None]).sum(dim=1)
        whole = maps.sum(dim=1)
        similarity = cosine(correlation, diagnosis.correlation[predicted])
        nothing = torch.full((len(images),), torch.nan, dtype=torch.float64)
        shares = (nothing,) * 3
        if foreground is not None:
            outside = 1 - foreground.double()
            shares = (_share(whole, outside), _share(wrong, outside), outside.mean(dim=(1, 2)))
        return cls(
            images, labels, predicted, confidence.double(), correlation, usual, p_values,
            relevant[predicted], relevant[labels], 1 - similarity, whole, wrong, *shares,
        )  # fmt: skip


def upper_tail_probability(values: Tensor, usual: Tensor) -> Tensor:
    """Probability of a value or a larger one, where ``usual`` comes from.

    Counted among the usual values, with one added to both sides: valid for however few of them, and never 0. Beyond the
    largest of at least 500, where counting can say no more than 1 in 501, the generalized Pareto distribution that is
    fitted to the largest tenth goes on, by a factor of ten at most: further out its shape is too uncertain.

    Args:
        values: ``(M, K)``.
        usual: ``(R, K)``, at least one row.

    Returns:
        ``(M, K)`` float64.

    >>> upper_tail_probability(torch.tensor([[0.5]]), torch.arange(3.0)[:, None]).tolist()
    [[0.75]]
    """
    values, usual = values.double(), usual.double()
    ordered = usual.T.contiguous().sort(dim=1).values
    at_least = len(usual) - torch.searchsorted(ordered, values.T.contiguous(), right=False).T
    counted = (1 + at_least.double()) / (len(usual) + 1)
    if len(usual) < EXTRAPOLATED:
        return counted
    beyond = torch.exp(-FilterTails.fit(UpperTail.of(usual, 0.1)).scores(values))
    return torch.where(at_least == 0, beyond.minimum(counted).maximum(counted / 10), counted)


def _share(maps: Tensor, outside: Tensor) -> Tensor:
    return (maps * outside).sum(dim=(1, 2)) / maps.sum(dim=(1, 2))
