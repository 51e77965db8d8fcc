"""One pass over a labelled set: what the model says, every image's profile, and the mistakes themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from captum_paramsal.batch import ModelInputs, forward_scores
from captum_paramsal.errors import InputError
from captum_paramsal.functional import scores_at
from captum_paramsal.hooks import GradientSums, frozen_eval
from captum_paramsal.profiles import FilterProfile
from captum_paramsal.reference import ProcessGroup
from captum_paramsal.reference.data_batches import LoaderItem, own_numbered, total_of
from captum_paramsal.reference.pieces import Pieces


@dataclass(frozen=True, eq=False)
class OwnMistakes:
    """Mistakes of one batch, which stay in the process that read them.

    Attributes:
        start: Number of the first one among all mistakes.
        batch: What the model takes.
    """

    start: int
    batch: ModelInputs


@dataclass(frozen=True, eq=False)
class ScoredImages:
    """A labelled set, as a model sees it.

    Attributes:
        profile: Saliency profiles at the true class, ``(N, F)``.
        labels: True classes, ``(N,)``.
        predicted: Predicted classes, ``(N,)``.
        confidence: Softmax probability of the predicted class, ``(N,)``.
        mistakes: This process's mistakes, by its turns; None for a turn without any.
    """

    profile: Tensor
    labels: Tensor
    predicted: Tensor
    confidence: Tensor
    mistakes: tuple[OwnMistakes | None, ...]

    @classmethod
    def of(
        cls,
        profile: FilterProfile,
        batches: Iterable[Any],
        internal_batch_size: int | None,
        pieces: Pieces,
        *,
        total: int | None,
        shown: bool,
    ) -> ScoredImages:
        """Score batches (inputs, labels) or (inputs, labels, additional_forward_args).

        Raises:
            InputError: No images, a batch without labels, or images that cannot be scored.
            TargetError: Labels that do not name one class per image.
        """
        total = total_of(batches, profile.model) if total is None else total
        group = ProcessGroup.current()
        mistakes: dict[int, ModelInputs] = {}

        def scored(numbered: tuple[int, Any]) -> tuple[int, dict[str, Tensor]]:
            number, raw = numbered
            one = LoaderItem.of(raw, profile.model)
            batch = ModelInputs.of(one.inputs, one.target, one.extra)
            if batch.labels is None:
                message = f"Expected batches (inputs, labels), got one without labels, batch {number}."
                raise InputError(message)

            def made() -> dict[str, Tensor]:
                labels, predicted, confidence = _predictions(profile, batch)
                rows = profile(one.inputs, one.target, one.extra, internal_batch_size).cpu()
                return {"profile": rows, "labels": labels, "predicted": predicted, "confidence": confidence}

            kept = pieces.kept_batch("triage", [number], one, made)
            wrong = (kept["labels"] != kept["predicted"]).nonzero()[:, 0]
            if len(wrong):
                mistakes[number] = batch.chosen(wrong)
            return number, kept

        columns, starts, before = [], {}, 0
        own = own_numbered(batches, group)
        with tqdm(total=total, desc="triage", unit="img", disable=not group.shows(shown)) as bar:
            for number, made in group.in_order(own, scored, "images to sort"):
                columns.append(made)
                starts[number] = before
                before += int((made["labels"] != made["predicted"]).sum())
                bar.update(len(made["labels"]))
        if not columns:
            message = "Expected labelled images to sort, got no batches."
            raise InputError(message)
        own_mistakes = {number // group.size: OwnMistakes(starts[number], batch) for number, batch in mistakes.items()}
        turns = tuple(own_mistakes.get(turn) for turn in range(max(own_mistakes, default=-1) + 1))
        return cls(**{name: torch.cat([part[name] for part in columns]) for name in columns[0]}, mistakes=turns)

    @property
    def wrong(self) -> Tensor:
        """Mistakes, ``(N,)`` bool."""
        return self.labels != self.predicted

    def gradient_sums(
        self, profile: FilterProfile, groups: Tensor, count: int, internal_batch_size: int | None, *, shown: bool
    ) -> GradientSums:
        """Signed gradients of the mistakes, summed over groups of them.

        Args:
            profile: That scored the images.
            groups: Group of each mistake, from 0, ``(M,)``.
            count: Groups.
            internal_batch_size: Images in one pass.
            shown: Show a progress bar.
        """
        group, total = ProcessGroup.current(), None

        def summed(own: OwnMistakes) -> GradientSums:
            batch = own.batch
            numbers = groups[own.start : own.start + len(batch)]
            target = list(map(tuple, batch.labels.tolist())) if batch.labels is not None else None
            sums = profile.gradient_sums(numbers, count, batch.given, target, batch.further, internal_batch_size)
            bar.update()
            return sums if group.size == 1 else sums.to("cpu")

        with tqdm(total=len(self.mistakes), desc="mistakes together", disable=not group.shows(shown)) as bar:
            for part in group.in_order(self.mistakes, summed, "mistakes together"):
                total = part if total is None else total + part
        if total is None:
            message = "Expected mistakes whose gradients can be summed, got none."
            raise InputError(message)
        return total if group.size == 1 else total.to(next(profile.model.parameters()).device)


def _predictions(profile: FilterProfile, batch: ModelInputs) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, predicted classes and their probability, ``(N,)`` each."""
    with frozen_eval(profile.model, gradients=False):
        scores, labels = scores_at(forward_scores(profile.model, batch, binary=True), batch.labels)
    confidence, predicted = scores.float().softmax(dim=1).max(dim=1)
    return labels.cpu(), predicted.cpu(), confidence.double().cpu()
