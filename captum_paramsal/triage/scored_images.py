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
from captum_paramsal.reference.data_batches import LoaderItem, total_of


@dataclass(frozen=True, eq=False)
class ScoredImages:
    """A labelled set, as a model sees it.

    Attributes:
        profile: Saliency profiles at the true class, ``(N, F)``.
        labels: True classes, ``(N,)``.
        predicted: Predicted classes, ``(N,)``.
        confidence: Softmax probability of the predicted class, ``(N,)``.
        mistakes: What the model takes, mistakes alone, in their order.
    """

    profile: Tensor
    labels: Tensor
    predicted: Tensor
    confidence: Tensor
    mistakes: tuple[ModelInputs, ...]

    @classmethod
    def of(
        cls,
        profile: FilterProfile,
        batches: Iterable[Any],
        internal_batch_size: int | None,
        *,
        total: int | None,
        shown: bool,
    ) -> ScoredImages:
        """Score batches (inputs, labels) or (inputs, labels, additional_forward_args).

        Raises:
            InputError: No images, a batch without labels, or images that cannot be scored.
            TargetError: Labels that do not name one class per image.
        """
        rows, mistakes = [], []
        total = total_of(batches, profile.model) if total is None else total
        with tqdm(total=total, desc="triage", unit="img", disable=not shown) as bar:
            for number, raw in enumerate(batches):
                one = LoaderItem.of(raw, profile.model)
                batch = ModelInputs.of(one.inputs, one.target, one.extra)
                if batch.labels is None:
                    message = f"Expected batches (inputs, labels), got one without labels, batch {number}."
                    raise InputError(message)
                labels, predicted, confidence = _predictions(profile, batch)
                scored = profile(one.inputs, one.target, one.extra, internal_batch_size).cpu()
                rows.append((scored, labels, predicted, confidence))
                wrong = (labels != predicted).nonzero()[:, 0]
                if len(wrong):
                    mistakes.append(batch.chosen(wrong))
                bar.update(len(batch))
        if not rows:
            message = "Expected labelled images to sort, got no batches."
            raise InputError(message)
        scores, labels, predicted, confidence = (torch.cat(parts) for parts in zip(*rows, strict=True))
        return cls(scores, labels, predicted, confidence, tuple(mistakes))

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
        sums, done = [], 0
        for batch in tqdm(self.mistakes, desc="mistakes together", disable=not shown):
            numbers = groups[done : done + len(batch)]
            target = list(map(tuple, batch.labels.tolist())) if batch.labels is not None else None
            sums.append(profile.gradient_sums(numbers, count, batch.inputs, target, batch.extra, internal_batch_size))
            done += len(batch)
        return sum(sums[1:], start=sums[0])


def _predictions(profile: FilterProfile, batch: ModelInputs) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, predicted classes and their probability, ``(N,)`` each."""
    with frozen_eval(profile.model), torch.no_grad():
        scores, labels = scores_at(forward_scores(profile.model, batch, binary=True), batch.labels)
    confidence, predicted = scores.float().softmax(dim=1).max(dim=1)
    return labels.cpu(), predicted.cpu(), confidence.double().cpu()
