"""The images, and how they are to be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.attr import ParameterSaliency, POTSaliency
from captum_paramsal.errors import InputError
from captum_paramsal.files import open_folder
from captum_paramsal.reference import ProcessGroup, Reference
from captum_paramsal.reference.pieces import Pieces
from captum_paramsal.report.explain.calibration import Calibration, HeldOut, calibrate
from captum_paramsal.report.explain.halves import fit_halves, require_enough
from captum_paramsal.report.explain.mistakes import GroupStatistics, Saliency, ScoringPass
from captum_paramsal.report.explain.score_scale import SCORE_SCALES
from captum_paramsal.report.explain.settings import ExplainSettings
from captum_paramsal.report.shared.predictions import Prediction, evenly_spread
from captum_paramsal.sources import ImageSource, SourceBatches
from captum_paramsal.versions import __version__
from captum_paramsal.viz import tail_levels

_COMPARED = 256
"""Images of a group that are scored for comparison, at most: enough for a mean, and no longer than need be."""

_NAMED = 10
"""Filters per mistake, where nobody says how many."""

_INSIDE = 0.9
"""Levels reach up to this share of the tail: at its very threshold, ties decide."""


@dataclass(frozen=True)
class ExplainJob:
    """What :func:`captum_paramsal.report.explain` was asked to do, the model being on its device already."""

    model: nn.Module
    images: ImageSource
    settings: ExplainSettings
    device: torch.device

    @property
    def batches(self) -> SourceBatches:
        """All images."""
        return SourceBatches(self.images, self.model, None, self.settings.batch_size, self.device)

    def saliency(self, reference: Reference | None) -> Saliency:
        """The method; without a reference, one that shows whether the model has such layers."""
        settings = self.settings
        if settings.method == "pot" and reference is not None:
            return POTSaliency(self.model, reference, fit=settings.fit, layers=settings.layers)
        return ParameterSaliency(self.model, reference, layers=settings.layers)

    def top_k(self, saliency: Saliency) -> int:
        """Filters that are named per mistake."""
        return self.settings.top_k or min(_NAMED, len(saliency.filters))

    def scoring(self, saliency: Saliency) -> ScoringPass:
        """How the images get to a method."""
        scale, settings = SCORE_SCALES[self.settings.method], self.settings
        pieces = Pieces(settings.checkpoint, self._identity(saliency), ProcessGroup.current())
        return ScoringPass(saliency, scale, self.batches, self.top_k(saliency), settings.show_progress, pieces)

    def _identity(self, saliency: Saliency) -> dict[str, Any]:
        """What scores depend on, apart from images; nothing where none are kept."""
        if self.settings.checkpoint is None or saliency.reference is None:
            return {}
        tail = saliency.reference.tail
        return {
            "version": __version__,
            "method": self.settings.method,
            "fit": self.settings.fit,
            "reference": saliency.reference.digest,
            "tail": None if tail is None else tail.fraction,
        }

    def statistics(self, saliency: Saliency) -> GroupStatistics:
        """Statistics of no image yet, for the filters and tails of a method."""
        levels, living = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
        if isinstance(saliency, POTSaliency) and saliency.reference is not None and saliency.reference.tail is not None:
            levels = tail_levels(_INSIDE * saliency.reference.tail.fraction)
            living = (saliency.tails.rate > 0).nonzero()[:, 0]
        return GroupStatistics(self.scoring(saliency), levels, living)

    def statistics_of(self, saliency: Saliency, positions: Sequence[int], what: str) -> GroupStatistics:
        """Statistics of some images."""
        statistics = self.statistics(saliency)
        for batch in self.scoring(saliency).scores(positions, what):
            statistics.add(batch)
        return statistics

    def mistakes(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """Those that are wrong."""
        return [prediction for prediction in predictions if not prediction.correct]

    def compared(self, predictions: Sequence[Prediction]) -> list[int]:
        """Correct images to compare with, evenly spread: for p-values many, otherwise as many as there are mistakes."""
        correct = [prediction.position for prediction in predictions if prediction.correct]
        most = _COMPARED if self.settings.method == "pot" else min(len(predictions) - len(correct), _COMPARED)
        return evenly_spread(correct, most)

    def fit_references(self, predictions: Sequence[Prediction]) -> tuple[Reference, ...]:
        """References of these images themselves; for tails in two halves, so that they can be checked.

        Raises:
            InputError: Fewer than two images.
        """
        positions = [prediction.position for prediction in predictions]
        if len(positions) < 2:
            message = (
                f"Expected a reference, or at least two images to take one on, got {len(positions)} image and none. "
                "Give one that was taken on other images: `reference=`, or `--reference FILE` on the command line."
            )
            raise InputError(message)
        settings, batches = self.settings, self.batches.at(positions)
        taken: dict[str, Any] = {
            "layers": settings.layers,
            "exemplars": settings.exemplars or None,
            "show_progress": settings.show_progress,
        }
        folder = None if settings.checkpoint is None else open_folder(Path(settings.checkpoint))
        if self.settings.method == "pot":
            require_enough(len(positions))
            return fit_halves(batches, folder, **taken)
        taken["checkpoint"] = None if folder is None else folder / "reference"
        return (Reference.fit(self.model, batches, tail=None, total=len(positions), **taken),)

    def check(
        self,
        predictions: Sequence[Prediction],
        parts: Sequence[Reference],
        of_correct: GroupStatistics,
        of_mistakes: GroupStatistics,
        *,
        given: bool,
    ) -> Calibration | None:
        """The shares of small p-values; None for a method without.

        Args:
            predictions: Those for all images.
            parts: One reference, or those of the two halves of the images.
            of_correct: Statistics of the correctly classified images that were compared, by the whole reference.
            of_mistakes: Statistics of the mistakes, by the whole reference.
            given: Whether the reference was taken elsewhere.
        """
        if self.settings.method != "pot":
            return None
        mistakes = [prediction.position for prediction in self.mistakes(predictions)]
        counts = (len(predictions) - len(mistakes), len(mistakes))
        if len(parts) == 1:
            held_out: HeldOut = "given" if given else "same"
            shares = (of_correct.shares, of_mistakes.shares)
            return calibrate(of_correct.levels, shares, counts, held_out=held_out, reference_images=parts[0].count)
        methods = [self.saliency(part) for part in parts]
        places = {prediction.position: place for place, prediction in enumerate(predictions)}
        crossed = (
            self._crossed(methods, self.compared(predictions), places),
            self._crossed(methods, evenly_spread(mistakes, _COMPARED), places),
        )
        return calibrate(of_correct.levels, crossed, counts, held_out="halves", reference_images=parts[0].count)

    def _crossed(self, methods: Sequence[Saliency], positions: Sequence[int], places: dict[int, int]) -> Tensor:
        """Shares of each image's p-values by the tails of the half that it is not in."""
        shares = []
        for number, method in enumerate(methods, 1):
            # The first method was fitted on the places 0, 2, 4, ...
            others = [position for position in positions if places[position] % 2 == number % 2]
            shares.append(self.statistics_of(method, others, f"check, half {number} of 2").shares)
        return torch.cat(shares)
