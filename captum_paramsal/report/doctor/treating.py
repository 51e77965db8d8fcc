"""Treating a copy of the model on training images, judged on images that it never sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.doctor import Diagnosis
from captum_paramsal.errors import ParamsalError, SourceError
from captum_paramsal.repair import Constraints, Patch, Treatment, foreground, treat
from captum_paramsal.report.doctor.data import number
from captum_paramsal.report.doctor.treatment_records import TreatmentResult
from captum_paramsal.sources import ImageSource, SourceBatch, SourceBatches

_SET_ASIDE = 5
"""One in so many training images chooses the epoch, where no images were given for that."""


@dataclass(frozen=True)
class TreatmentSettings:
    """How to treat a model.

    Attributes:
        train: Labelled images to train on; where their objects are known, the space constraint uses that.
        validation: Images that the best epoch is chosen by; one in five of the training images if None.
        epochs: Times that the training images are gone through.
        learning_rate: At the first step.
        channel: Strength of the channel constraint, as a multiple of the loss before the treatment; 0 for none.
        space: Strength of the space constraint; likewise.
        margin: Pixels that objects are expanded by; 30 at 224 pixels if None.
        as_in_paper: Constrain as the paper does, see :meth:`captum_paramsal.repair.Constraints.of_paper`: gradients
            averaged over perturbed copies, and the second most confident class.
        space_layers: Layers of the space constraint, the last two in the paper; that of the diagnosis if there are
            none. Only with ``as_in_paper``.
        allow_worse: Leave the untreated model out of the choice of the best epoch.
        control: Also fine-tune another copy with the same budget and no constraint, to compare with.
        seed: Of the order of the images.
    """

    train: ImageSource
    validation: ImageSource | None = None
    epochs: int = 10
    learning_rate: float = 0.003
    channel: float = 1.0
    space: float = 10.0
    margin: int | None = None
    as_in_paper: bool = False
    space_layers: tuple[str, ...] = ()
    allow_worse: bool = False
    control: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.space_layers and not self.as_in_paper:
            message = f"Expected `space_layers` only with `as_in_paper`, got {list(self.space_layers)} without it."
            raise ParamsalError(message)

    def constraints(self, diagnosis: Diagnosis, *, annotated: bool) -> Constraints | tuple[Constraints, ...] | None:
        """What the treatment holds the model to; None where nothing is left.

        Args:
            diagnosis: Which channels the classes may rely on.
            annotated: Whether it is known of any image where its object lies.

        Raises:
            ParamsalError: See :meth:`captum_paramsal.repair.Constraints.of_paper`.
        """
        strengths = {"channel": self.channel, "space": self.space if annotated else 0.0}
        if self.as_in_paper:
            return Constraints.of_paper(diagnosis, self.space_layers, **strengths) or None
        return Constraints.of(diagnosis, **strengths) if any(strengths.values()) else None

    def options(self) -> dict[str, Any]:
        """Everything but the images, as JSON has it."""
        left_out = ("train", "validation")
        kept = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in left_out}
        return {**kept, "space_layers": list(self.space_layers)}


@dataclass(frozen=True)
class Treated:
    """What came of it.

    Attributes:
        result: What it did to the held-out images.
        model: The treated model.
        patch: What changed in it.
        caveats: What a reader should know.
    """

    result: TreatmentResult
    model: nn.Module
    patch: Patch
    caveats: tuple[str, ...] = ()


def treat_images(
    settings: TreatmentSettings, diagnosis: Diagnosis, held_out: SourceBatches, *, show_progress: bool
) -> Treated:
    """Treat a copy of the model that the held-out batches are made for.

    Args:
        settings: How.
        diagnosis: Which channels the classes may rely on.
        held_out: What the effect is counted on.
        show_progress: Show a progress bar.

    Raises:
        SourceError: Too few training images to choose an epoch by.
        ParamsalError: See :func:`captum_paramsal.repair.treatment.treat`.
    """
    train, validation = _divided(settings, held_out)
    annotated = sum(settings.train.mask(position) is not None for position in train.wanted) if settings.space else 0
    space = settings.space if annotated else 0.0
    constraints = settings.constraints(diagnosis, annotated=bool(annotated))
    trial = _Trial(settings, train, validation, held_out, show_progress)
    treatment = trial.treat(constraints, annotated=bool(space))
    plain = trial.treat(None, annotated=False) if settings.control and constraints is not None else None
    counts = {"train": len(train.wanted), "annotated": annotated, "validation": len(validation.wanted)}
    kind = {"validation_from": "training images" if settings.validation is None else "images of their own"}
    result = _result(treatment, plain, held_out, {**settings.options(), "space": space, **counts, **kind})
    model = held_out.model if treatment.model is None else treatment.model
    return Treated(result, model, treatment.patch, tuple(_caveats(settings, annotated, len(train.wanted))))


@dataclass(frozen=True)
class TrainingBatches:
    """Training images in random order, as torch's global random numbers have it, with what is foreground in them.

    Attributes:
        batches: The images.
        margin: Pixels that objects are expanded by; see :func:`captum_paramsal.repair.treatment.foreground`.
        annotated: Whether to look for objects at all.
    """

    batches: SourceBatches
    margin: int | None
    annotated: bool

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        positions = self.batches.wanted
        order = [positions[place] for place in torch.randperm(len(positions)).tolist()]
        for batch in self.batches.at(order).read():
            labelled = batch.inputs, batch.labels
            yield (*labelled, self._foreground(batch)) if self.annotated else labelled

    def _foreground(self, batch: SourceBatch) -> Tensor:
        masks = [self.batches.images.mask(position) for position in batch.positions]
        size = (batch.inputs.shape[-2], batch.inputs.shape[-1])
        return foreground(size, masks=masks, margin=self.margin)


@dataclass(frozen=True)
class _Trial:
    """Images and budget, which a treatment and its control share."""

    settings: TreatmentSettings
    train: SourceBatches
    validation: SourceBatches
    held_out: SourceBatches
    show_progress: bool

    def treat(self, constraints: Constraints | tuple[Constraints, ...] | None, *, annotated: bool) -> Treatment:
        settings = self.settings
        return treat(
            self.held_out.model,
            TrainingBatches(self.train, settings.margin, annotated=annotated),
            self.held_out,
            constraints,
            validation_batches=self.validation,
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            allow_worse=settings.allow_worse,
            seed=settings.seed,
            show_progress=self.show_progress,
        )


def _divided(settings: TreatmentSettings, like: SourceBatches) -> tuple[SourceBatches, SourceBatches]:
    """What is trained on, and what the epoch is chosen by."""
    train = list(range(len(settings.train.items)))
    of_training = replace(like, images=settings.train)
    if settings.validation is not None:
        validation = list(range(len(settings.validation.items)))
        return of_training.at(train), replace(like, images=settings.validation, positions=validation)
    if len(train) < _SET_ASIDE:
        message = (
            f"Expected at least {_SET_ASIDE} training images, of which one in {_SET_ASIDE} chooses the epoch, got "
            f"{len(train)}. Give more, or images to choose by."
        )
        raise SourceError(message)
    # By class first, so that every class of some size has its share.
    chance = torch.rand(len(train), generator=torch.Generator().manual_seed(settings.seed)).tolist()
    ordered = sorted(train, key=lambda position: (settings.train.items[position].label, chance[position]))
    aside = ordered[_SET_ASIDE // 2 :: _SET_ASIDE]
    rest = sorted(set(train) - set(aside))
    return of_training.at(rest), of_training.at(sorted(aside))


def _result(
    treatment: Treatment, plain: Treatment | None, held_out: SourceBatches, settings: dict[str, Any]
) -> TreatmentResult:
    return TreatmentResult(
        positions=tuple(held_out.wanted),
        files=tuple(held_out.images.items[position].name for position in held_out.wanted),
        labels=tuple(treatment.before.labels.tolist()),
        before=tuple(treatment.before.predictions.tolist()),
        after=tuple(treatment.after.predictions.tolist()),
        plain=None if plain is None else tuple(plain.after.predictions.tolist()),
        plain_epoch=None if plain is None else plain.best_epoch,
        confidence=tuple(round(value, 6) for value in treatment.after.confidence.tolist()),
        p_value=treatment.p_value,
        best_epoch=treatment.best_epoch,
        selected_on=treatment.selected_on,
        history=[{name: number(value) for name, value in row.items()} for row in treatment.history],
        weights=dict(treatment.weights),
        settings=settings,
    )


def _caveats(settings: TreatmentSettings, annotated: int, trained: int) -> list[str]:
    if not settings.space:
        return []
    if not annotated:
        caveat = (
            "No training image says where its object lies, so the treatment had no space constraint. Boxes in the "
            "table of the training images, or masks (`captum-paramsal annotate`), would allow it."
        )
        return [caveat]
    if annotated < trained:
        caveat = (
            f"The space constraint knew the object in {annotated} of the {trained} training images "
            f"({annotated / trained:.0%}). In the others nothing counts as background, so it did not act on them."
        )
        return [caveat]
    return []
