"""The scores of many images, batch by batch, and what is kept of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from captum_paramsal.attr import ParameterSaliency, POTSaliency
from captum_paramsal.filters import Filter
from captum_paramsal.report.explain.curves import CurveSampler
from captum_paramsal.report.explain.data import ImageGroup, Mistake, RankedFilter
from captum_paramsal.report.explain.score_scale import ScoreScale
from captum_paramsal.report.shared.predictions import Prediction
from captum_paramsal.sources import ImageSource, SourceBatches
from captum_paramsal.viz import shares_per_image

Saliency: TypeAlias = ParameterSaliency | POTSaliency


@dataclass(frozen=True)
class ScoredBatch:
    """One batch of scores.

    Attributes:
        positions: Of its images, N of them.
        scores: ``(N, F)``, on the processor.
        unusual: Unusual filters, ``(N, F)`` bool.
        p_values: ``(N, F)`` float64; None for a method without.
        top: The filters that are named for each image, highest first.
    """

    positions: tuple[int, ...]
    scores: Tensor
    unusual: Tensor
    p_values: Tensor | None
    top: list[list[Filter]]


@dataclass(frozen=True)
class ScoringPass:
    """How images get to a method: what every pass over them shares."""

    saliency: Saliency
    yardstick: ScoreScale
    images: ImageSource
    top_k: int
    batch_size: int
    device: torch.device
    show_progress: bool

    def inputs(self, positions: Sequence[int], what: str) -> Iterator[tuple[tuple[int, ...], Tensor, Tensor]]:
        """Positions, inputs and labels of one batch after another, ready for the model."""
        batches = SourceBatches(self.images, self.saliency.model, positions, self.batch_size, self.device)
        for batch in batches.read(what, show_progress=self.show_progress):
            yield batch.positions, batch.inputs, batch.labels

    def scores(self, positions: Sequence[int], what: str) -> Iterator[ScoredBatch]:
        """Scores at the true label of one batch after another."""
        for places, inputs, labels in self.inputs(positions, what):
            scores = self.saliency.attribute(inputs, target=labels).detach().cpu()
            yardstick = self.yardstick
            yield ScoredBatch(places, scores, yardstick.unusual(scores), yardstick.p_values(scores), self._top(scores))

    def _top(self, scores: Tensor) -> list[list[Filter]]:
        filters = self.saliency.filters
        ranked = zip(scores, filters.top(scores, self.top_k), strict=True)
        return [[one for one in best if row[filters.index(one)] > self.yardstick.lowest] for row, best in ranked]


class GroupStatistics:
    """A group's means, taken batch by batch so that no profile has to be kept.

    Args:
        scoring: Where the scores come from.
        levels: Where the share of each image's p-values is counted, ``(L,)``.
        living: Columns of the filters whose p-values count.
    """

    def __init__(self, scoring: ScoringPass, levels: Tensor, living: Tensor) -> None:
        self._filters = scoring.saliency.filters
        self._ceiling = scoring.yardstick.ceiling
        self.levels, self._living = levels, living
        self._total = torch.zeros(len(self._filters), dtype=torch.float64)
        self._images = self._unusual = 0
        self._appearances: Counter[int] = Counter()
        self._shares = [torch.zeros(0, len(levels), dtype=torch.float64)]

    def add(self, batch: ScoredBatch) -> None:
        """Count one more batch."""
        self._total += batch.scores.double().clamp(max=self._ceiling).sum(dim=0)
        self._images += len(batch.scores)
        self._unusual += int(batch.unusual.sum())
        self._appearances.update(self._filters.index(one) for row in batch.top for one in row)
        if batch.p_values is not None and len(self._living) and len(self.levels):
            self._shares.append(shares_per_image(batch.p_values[:, self._living], self.levels))

    @property
    def shares(self) -> Tensor:
        """Share of each image's p-values at or below each level, ``(N, L)``; no rows for a method without."""
        return torch.cat(self._shares)

    def group(self) -> ImageGroup:
        """What is said about the images together."""
        if not self._images:
            return ImageGroup()
        mean = tuple(round(value, 5) for value in (self._total / self._images).tolist())
        return ImageGroup(self._images, mean, self._unusual / self._images, dict(self._appearances))


def explain_mistakes(
    scoring: ScoringPass, wrong: Sequence[Prediction], cards: int, sampler: CurveSampler, tally: GroupStatistics
) -> tuple[tuple[Mistake, ...], GroupStatistics]:
    """Every mistake with its filters, the ``cards`` surest with their curves, and the tally of all of them."""
    by_position = {one.position: one for one in wrong}
    surest = sorted(wrong, key=lambda one: -one.confidence)[:cards]
    drawn = {one.position for one in surest}
    mistakes: list[Mistake] = []
    for batch in scoring.scores(list(by_position), "mistakes"):
        tally.add(batch)
        for row, (position, curve) in enumerate(zip(batch.positions, sampler(batch.scores), strict=True)):
            one = by_position[position]
            mistakes.append(_mistake(scoring, one, batch, row, curve if position in drawn else ()))
    return tuple(mistakes), tally


def _mistake(scoring: ScoringPass, one: Prediction, batch: ScoredBatch, row: int, curve: tuple[float, ...]) -> Mistake:
    item, filters = scoring.images.items[one.position], scoring.saliency.filters
    columns = [filters.index(each) for each in batch.top[row]]
    scores = batch.scores[row, columns].tolist()
    p_values = [None] * len(columns) if batch.p_values is None else batch.p_values[row, columns].tolist()
    return Mistake(
        position=one.position,
        file=item.name,
        label=one.label,
        prediction=one.predicted,
        label_confidence=one.label_confidence,
        prediction_confidence=one.confidence,
        filters=tuple(map(RankedFilter, batch.top[row], scores, p_values)),
        unusual=int(batch.unusual[row].sum()),
        note=item.note,
        curve=curve,
    )
