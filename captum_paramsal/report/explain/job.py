"""The images, and how they are to be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captum_paramsal.attr import ParameterSaliency, POTSaliency
from captum_paramsal.profiles import LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.report.explain.calibration import Calibration, HeldOut, calibrate
from captum_paramsal.report.explain.halves import fit_halves, require_enough
from captum_paramsal.report.explain.mistakes import GroupStatistics, Saliency, ScoringPass
from captum_paramsal.report.explain.score_scale import SCORE_SCALES, Method
from captum_paramsal.report.shared.fit_reference import fit_reference
from captum_paramsal.report.shared.predictions import Prediction, evenly_spread
from captum_paramsal.sources import ImageSource
from captum_paramsal.stats import TailMethod
from captum_paramsal.viz import tail_levels

_COMPARED = 256
"""Images of a group that are scored for comparison, at most: enough for a mean, and no longer than need be."""

_INSIDE = 0.9
"""Levels reach up to this share of the tail: at its very threshold, ties decide."""


@dataclass(frozen=True)
class ExplainJob:
    """What :func:`captum_paramsal.report.explain` was asked to do, the model being on its device already."""

    model: nn.Module
    images: ImageSource
    method: Method
    fit: TailMethod
    layers: LayerSelection | None
    top_k: int
    batch_size: int
    device: torch.device
    show_progress: bool

    def saliency(self, reference: Reference | None) -> Saliency:
        """The method; without a reference, one that shows whether the model has such layers."""
        if self.method == "pot" and reference is not None:
            return POTSaliency(self.model, reference, fit=self.fit, layers=self.layers)
        return ParameterSaliency(self.model, reference, layers=self.layers)

    def scoring(self, saliency: Saliency) -> ScoringPass:
        """How the images get to a method."""
        yardstick = SCORE_SCALES[self.method]
        return ScoringPass(
            saliency, yardstick, self.images, self.top_k, self.batch_size, self.device, self.show_progress
        )

    def tally(self, saliency: Saliency) -> GroupStatistics:
        """An empty tally, for the filters and tails of a method."""
        levels, living = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
        if isinstance(saliency, POTSaliency) and saliency.reference is not None and saliency.reference.tail is not None:
            levels = tail_levels(_INSIDE * saliency.reference.tail.fraction)
            living = (saliency.tails.rate > 0).nonzero()[:, 0]
        return GroupStatistics(self.scoring(saliency), levels, living)

    def count(self, saliency: Saliency, positions: Sequence[int], what: str) -> GroupStatistics:
        """The tally of some images."""
        tally = self.tally(saliency)
        for batch in self.scoring(saliency).scores(positions, what):
            tally.add(batch)
        return tally

    def wrong(self, found: Sequence[Prediction]) -> list[Prediction]:
        """The mistakes."""
        return [one for one in found if one.predicted != one.label]

    def compared(self, found: Sequence[Prediction]) -> list[int]:
        """Correct ones to compare with, evenly spread: for p-values many, otherwise as many as there are mistakes."""
        right = [one.position for one in found if one.predicted == one.label]
        return evenly_spread(right, _COMPARED if self.method == "pot" else min(len(found) - len(right), _COMPARED))

    def fit_references(self, found: Sequence[Prediction]) -> tuple[Reference, ...]:
        """References of these images themselves; for tails in two halves, so that they can be checked."""
        positions = [one.position for one in found]
        size, shown = self.batch_size, self.show_progress
        if self.method == "pot":
            require_enough(len(positions))
            layers, device = self.layers, self.device
            return fit_halves(
                self.model, self.images, positions, layers=layers, batch_size=size, device=device, show_progress=shown
            )
        fitted = fit_reference(
            self.model, self.images, positions, layers=self.layers, tail=None, batch_size=size, show_progress=shown
        )
        return (fitted,)

    def check(
        self,
        found: Sequence[Prediction],
        parts: Sequence[Reference],
        right: GroupStatistics,
        wrong: GroupStatistics,
        *,
        given: bool,
    ) -> Calibration | None:
        """The shares of small p-values; None for a method without.

        Args:
            found: What the model said about all images.
            parts: One reference, or those of the two halves of the images.
            right: Tally of the correctly classified images that were compared, by the whole reference.
            wrong: Tally of the mistakes, by the whole reference.
            given: Whether the reference was taken elsewhere.
        """
        if self.method != "pot":
            return None
        mistakes = [one.position for one in self.wrong(found)]
        counts = (len(found) - len(mistakes), len(mistakes))
        if len(parts) == 1:
            held_out: HeldOut = "given" if given else "same"
            shares = (right.shares, wrong.shares)
            return calibrate(right.levels, shares, counts, held_out=held_out, reference_images=parts[0].count)
        methods = [self.saliency(part) for part in parts]
        places = {one.position: place for place, one in enumerate(found)}
        crossed = (
            self._crossed(methods, self.compared(found), places),
            self._crossed(methods, evenly_spread(mistakes, _COMPARED), places),
        )
        return calibrate(right.levels, crossed, counts, held_out="halves", reference_images=parts[0].count)

    def _crossed(self, methods: Sequence[Saliency], positions: Sequence[int], places: dict[int, int]) -> Tensor:
        """Shares of each image's p-values by the tails of the half that it is not in."""
        halves = ([position for position in positions if places[position] % 2 == half] for half in (1, 0))
        whats = ("check, half 1 of 2", "check, half 2 of 2")
        tallies = (self.count(*one) for one in zip(methods, halves, whats, strict=True))
        return torch.cat([tally.shares for tally in tallies])
