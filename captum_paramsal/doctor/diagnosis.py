"""Which channels of a layer each class relies on: a value that is fitted, read, saved and loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_paramsal.errors import (
    ConstantEvidenceWarning,
    FewSamplesWarning,
    InputError,
    ReferenceMismatchError,
    warn_caller,
)
from captum_paramsal.files import Fingerprint
from captum_paramsal.files.kinds import DIAGNOSIS
from captum_paramsal.functional import jaccard, jaccard_by_chance, normalized_per_class, relevant_channels
from captum_paramsal.hooks import unwrap
from captum_paramsal.summary import Summarized

Threshold = float | Literal["mean"]

_SAME = 1e-6
"""Evidence that varies by less than this share of its mean within a class does not vary."""


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Summarized):
    """How strongly each class depends on each channel of a layer, in images that the model is right about.

    Made by :meth:`captum_paramsal.ModelDoctor.fit`.

    Attributes:
        layer: Name of the layer.
        correlation: Evidence of each channel for each class, summed over its places, mean over the class's most
            confident images, ``(classes, K)`` float64; NaN for a class without any.
        counts: How many these were, ``(classes,)``.
        usual: The same for single images of each class that the model was right about, sure or not, ``(R, K)``.
        usual_labels: Their classes, ``(R,)``, rising.
        settings: How the evidence was taken, and the images chosen.
        fingerprint: Digests of the weights.
    """

    layer: str
    correlation: Tensor
    counts: Tensor
    usual: Tensor
    usual_labels: Tensor
    settings: Mapping[str, Any]
    fingerprint: Fingerprint

    @property
    def classes(self) -> int:
        """Classes of the model."""
        return self.correlation.shape[0]

    @property
    def channels(self) -> int:
        """Channels of the layer, K."""
        return self.correlation.shape[1]

    @cached_property
    def normalized(self) -> Tensor:
        """The correlation with each class brought to [0, 1], ``(classes, K)``."""
        return normalized_per_class(self.correlation)

    def relevant(self, threshold: Threshold = 0.2) -> Tensor:
        """Channels that each class relies on, ``(classes, K)`` bool; none for a class without images.

        Args:
            threshold: For the normalized correlation; ``"mean"`` for at least the class's mean correlation.

        Raises:
            InputError: Neither ``"mean"`` nor a number in [0, 1].
        """
        if threshold != "mean" and not (isinstance(threshold, (int, float)) and 0 <= threshold <= 1):
            message = f"Expected `threshold` to be 'mean' or a number in [0, 1], got {threshold!r}."
            raise InputError(message)
        return relevant_channels(self.correlation, threshold)

    def sparsity(self, threshold: Threshold = 0.2) -> Tensor:
        """Share of the channels that each class relies on, ``(classes,)``; NaN for a class without images."""
        share = self.relevant(threshold).double().mean(dim=1)
        return share.masked_fill(self.counts == 0, torch.nan)

    def overlap(self, threshold: Threshold = 0.2) -> Tensor:
        """Channels that two classes share, over those that either relies on (Jaccard), ``(classes, classes)``.

        NaN for a class without images.
        """
        return self._known(jaccard(self.relevant(threshold)))

    def overlap_by_chance(self, threshold: Threshold = 0.2) -> Tensor:
        """What :meth:`overlap` would be on average if each class relied on as many channels, chosen at random."""
        return self._known(jaccard_by_chance(self.relevant(threshold)))

    def _known(self, pairs: Tensor) -> Tensor:
        without = self.counts == 0
        return pairs.masked_fill(without[:, None] | without, torch.nan)

    def usual_of(self, label: int) -> Tensor:
        """Correlations of the single images of a class, ``(R, K)``."""
        return self.usual[self.usual_labels == label]

    def check(self, model: nn.Module, layer: str | None = None, settings: Mapping[str, Any] | None = None) -> None:
        """Make sure that this diagnosis is of these weights, and of this layer and these settings if they are given.

        Raises:
            ReferenceMismatchError: It is not; the message says what differs.
        """
        if difference := self.fingerprint.difference(Fingerprint.of(unwrap(model))):
            message = f"Expected the model to have the weights this diagnosis was made of, but {difference}."
            raise ReferenceMismatchError(message)
        if layer is not None and layer != self.layer:
            message = f"Expected a diagnosis of layer {layer!r}, got one of {self.layer!r}."
            raise ReferenceMismatchError(message)
        other = {name: value for name, value in (settings or {}).items() if self.settings.get(name) != value}
        if other:
            ours = {name: self.settings.get(name) for name in other}
            message = f"Expected a diagnosis with the settings of the doctor, {other}, got one with {ours}."
            raise ReferenceMismatchError(message)

    def warn_if_few(self, minimum: int) -> None:
        """Say which classes have few images.

        Warns:
            FewSamplesWarning: Classes with fewer than ``minimum`` sure images, each with how many there are.
        """
        few = [(label, count) for label, count in enumerate(self.counts.tolist()) if count < minimum]
        if few:
            named = ", ".join(f"{label} ({count})" for label, count in few[:20]) + (", ..." if len(few) > 20 else "")
            message = (
                f"{len(few)} of {self.classes} classes have fewer than {minimum} images that the model classifies "
                f"correctly with a probability of at least {self.settings.get('confidence')}: {named}. Their channels "
                "are hardly known."
            )
            warn_caller(message, FewSamplesWarning)

    def warn_if_constant(self) -> None:
        """Say so if no image can be unusual.

        Warns:
            ConstantEvidenceWarning: The evidence is the same in every image of a class.
        """
        if self.is_constant:
            message = (
                f"The evidence at layer {self.layer!r} is the same in every image of a class, since what follows it is "
                "linear, so no image can be unusual there. Use multiply_by_inputs=True, or a layer before the "
                "last activation."
            )
            warn_caller(message, ConstantEvidenceWarning)

    @property
    def is_constant(self) -> bool:
        """Whether the evidence is the same in every image of a class."""
        several = [rows for rows in map(self.usual_of, self.usual_labels.unique().tolist()) if len(rows) > 1]
        return bool(several) and all(
            bool(((rows.amax(dim=0) - rows.amin(dim=0)) <= _SAME * rows.mean(dim=0)).all()) for rows in several
        )

    def to_table(self) -> list[dict[str, Any]]:
        """One row per class and channel: class, channel, correlation, normalized, samples."""
        counts, correlation, normalized = self.counts.tolist(), self.correlation.tolist(), self.normalized.tolist()
        return [
            {"class": n, "channel": k, "correlation": value, "normalized": normalized[n][k], "samples": counts[n]}
            for n, row in enumerate(correlation)
            for k, value in enumerate(row)
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            DiagnosisFileError: The file cannot be written.
        """
        tensors = {name: getattr(self, name) for name in _TENSORS}
        digests = dict(self.fingerprint.digests)
        DIAGNOSIS.save(path, tensors, {"layer": self.layer, "settings": dict(self.settings), "digests": digests})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Diagnosis:
        """Read a diagnosis file, whole or not at all.

        Raises:
            DiagnosisFileError: No such file, damaged, truncated, or not a diagnosis of a version that is known.
        """
        return DIAGNOSIS.load(path, cls._of)

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], content: dict[str, Any]) -> Diagnosis:
        known = {name: tensors[name] for name in _TENSORS}
        fingerprint = Fingerprint(content["digests"])
        return cls(layer=content["layer"], settings=content["settings"], fingerprint=fingerprint, **known)


_TENSORS = ("correlation", "counts", "usual", "usual_labels")
