"""What came of a treatment."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.errors import PatchError
from captum_paramsal.files.kinds import TREATMENT
from captum_paramsal.hooks import unwrap
from captum_paramsal.repair.treatment.held_out import HeldOutPredictions
from captum_paramsal.repair.treatment.patch import Patch
from captum_paramsal.stats import mcnemar
from captum_paramsal.summary import Summarized


@dataclass(frozen=True, eq=False, repr=False)
class Treatment(Summarized):
    """A treated model, and what the treatment did on held-out images.

    Attributes:
        model: The treated model; None where it was loaded without its base.
        patch: What turns the untreated model into the treated one.
        before: Predictions of the untreated model for the held-out images.
        after: Those of the treated model.
        history: One row per epoch, 0 for the untreated model: means of the loss and of each constraint over the
            training images, and ``validation_accuracy`` and ``validation_loss`` on the images that the best epoch was
            chosen by.
        weights: Weight of each constraint in the loss.
        best_epoch: The epoch whose weights the treated model has; 0 where none was better than the untreated model.
        selected_on: "validation", or "held-out" where the same images chose the best epoch that ``after`` counts;
            accuracy and p-value are then too good.
    """

    model: nn.Module | None
    patch: Patch
    before: HeldOutPredictions
    after: HeldOutPredictions
    history: list[dict[str, float]]
    weights: Mapping[str, float]
    best_epoch: int
    selected_on: str

    @property
    def cured(self) -> Tensor:
        """Held-out images that were mistaken and no longer are, int64."""
        return (~self.before.right & self.after.right).nonzero().squeeze(1)

    @property
    def broken(self) -> Tensor:
        """Held-out images that were right and no longer are, int64."""
        return (self.before.right & ~self.after.right).nonzero().squeeze(1)

    @property
    def p_value(self) -> float:
        """Two-sided exact McNemar test of as many cured as broken; 1 where there are none of either."""
        return mcnemar(len(self.cured), len(self.broken))

    def __str__(self) -> str:
        return (
            f"accuracy {self.before.accuracy:.2%} -> {self.after.accuracy:.2%} on {len(self.after)} held-out "
            f"images: {len(self.cured)} cured, {len(self.broken)} broken (p = {self.p_value:.2g}), epoch "
            f"{self.best_epoch} of {len(self.history) - 1}"
        )

    def to_table(self) -> list[dict[str, Any]]:
        """One row per class: class, held-out images, accuracy before and after, images cured and broken."""
        labels, classes = self.before.labels, self.before.classes
        columns = {
            "class": list(range(classes)),
            "images": self.before.images_per_class().tolist(),
            "before": self.before.accuracy_per_class().tolist(),
            "after": self.after.accuracy_per_class().tolist(),
            "cured": torch.bincount(labels[self.cured], minlength=classes).tolist(),
            "broken": torch.bincount(labels[self.broken], minlength=classes).tolist(),
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file, and the patch beside it with the ending ``.safetensors``.

        Raises:
            TreatmentError: The JSON file cannot be written, or its name ends as the patch's.
            PatchError: The patch cannot be written.
        """
        beside = TREATMENT.beside(path, ".safetensors")
        content = {
            "patch": beside.name,
            "treated": self.patch.treated.short,
            "before": _listed(self.before),
            "after": _listed(self.after),
            "history": self.history,
            "weights": dict(self.weights),
            "best_epoch": self.best_epoch,
            "selected_on": self.selected_on,
        }
        # Before the file that names it.
        self.patch.save(beside)
        TREATMENT.save(path, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str], base: nn.Module | None = None) -> Treatment:
        """Read a treatment and its patch, whole or not at all.

        Args:
            path: The JSON file.
            base: The untreated model, left as it is, to make the treated one from.

        Raises:
            TreatmentError: No such file, damaged, or not a treatment of a version that is known.
            PatchError: The same of its patch, or a base that it was not made for.
        """
        source = Path(path)
        beside, treated, values = TREATMENT.load(source, _values)
        patch = Patch.load(source.with_name(beside))
        if patch.treated.short != treated:
            message = f"Expected the patch of {str(source)!r} in {beside!r}, got that of another treatment."
            raise PatchError(message)
        treated_model = None
        if base is not None:
            treated_model = copy.deepcopy(unwrap(base))
            patch.apply(treated_model)
        return cls(treated_model, patch, **values)


def _listed(predictions: HeldOutPredictions) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in vars(predictions).items()}


def _predictions_of(content: Mapping[str, Any]) -> HeldOutPredictions:
    labels, predictions = (torch.tensor(content[name], dtype=torch.int64) for name in ("labels", "predictions"))
    confidence = torch.tensor(content["confidence"], dtype=torch.float64)
    return HeldOutPredictions(labels, predictions, confidence, content["loss"], content["classes"])


def _values(content: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Name of the patch's file, digest of the treated weights, and what else a treatment is."""
    values = {name: content[name] for name in ("history", "weights", "best_epoch", "selected_on")}
    values |= {when: _predictions_of(content[when]) for when in ("before", "after")}
    return content["patch"], content["treated"], values
