"""The scores of many images, batch by batch, and what is kept of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from captum_paramsal.attr import ParameterSaliency, POTSaliency
from captum_paramsal.filters import Filter
from captum_paramsal.reference.data_batches import LoaderItem
from captum_paramsal.reference.pieces import Pieces
from captum_paramsal.report.explain.curves import CurveSampler
from captum_paramsal.report.explain.data import ImageGroup, Mistake, RankedFilter
from captum_paramsal.report.explain.score_scale import ScoreScale
from captum_paramsal.report.shared.predictions import Prediction
from captum_paramsal.sources import SourceBatch, SourceBatches
from captum_paramsal.viz import shares_per_image

_Made = TypeVar("_Made")

Saliency: TypeAlias = ParameterSaliency | POTSaliency


@dataclass(frozen=True)
class ScoredBatch:
    """One batch of scores.

    Attributes:
        positions: Of its images, N of them.
        scores: ``(N, F)``, on the CPU.
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
    scale: ScoreScale
    batches: SourceBatches
    top_k: int
    show_progress: bool
    pieces: Pieces

    def made(
        self, make: Callable[[SourceBatch], _Made], positions: Sequence[int], what: str
    ) -> Iterator[tuple[tuple[int, ...], _Made]]:
        """What is made of one batch after another of the images at these positions, with their positions."""
        return self.batches.at(positions).made(make, what, show_progress=self.show_progress)

    def scores(self, positions: Sequence[int], what: str) -> Iterator[ScoredBatch]:
        """Scores at the true label of one batch after another."""

        def scored(batch: SourceBatch) -> Tensor:
            item = LoaderItem(batch.inputs, batch.labels)

            def made() -> dict[str, Tensor]:
                scores: Tensor = self.saliency.attribute(batch.inputs, target=batch.labels)
                return {"scores": scores.detach().cpu()}

            return self.pieces.kept_batch("scores", batch.positions, item, made)["scores"]

        scale = self.scale
        for places, scores in self.made(scored, positions, what):
            yield ScoredBatch(places, scores, scale.unusual(scores), scale.p_values(scores), self._top(scores))

    def _top(self, scores: Tensor) -> list[list[Filter]]:
        filters = self.saliency.filters
        ranked = zip(scores, filters.top(scores, self.top_k), strict=True)
        return [[best for best in top if row[filters.index(best)] > self.scale.lowest] for row, top in ranked]


class GroupStatistics:
    """A group's means, taken batch by batch so that no profile has to be kept.

    Args:
        scoring: Where the scores come from.
        levels: Where the share of each image's p-values is counted, ``(L,)``.
        living: Columns of the filters whose p-values count.
    """

    def __init__(self, scoring: ScoringPass, levels: Tensor, living: Tensor) -> None:
        self._filters = scoring.saliency.filters
        self._ceiling = scoring.scale.ceiling
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
        self._appearances.update(self._filters.index(best) for top in batch.top for best in top)
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
        return ImageGroup(self._images, mean, self._unusual / self._images, dict(sorted(self._appearances.items())))


def positions_with_cards(wrong: Sequence[Prediction], cards: int) -> set[int]:
    """Of the most confident mistakes, so many."""
    most_confident = sorted(wrong, key=lambda prediction: -prediction.confidence)[:cards]
    return {prediction.position for prediction in most_confident}


def explain_mistakes(
    scoring: ScoringPass,
    wrong: Sequence[Prediction],
    drawn: Container[int],
    sampler: CurveSampler,
    takers: Sequence[Callable[[ScoredBatch], None]],
) -> tuple[Mistake, ...]:
    """Every mistake with its filters, those at the positions ``drawn`` with their curves; takers get all scores."""
    by_position = {prediction.position: prediction for prediction in wrong}
    mistakes: list[Mistake] = []
    for batch in scoring.scores(list(by_position), "mistakes"):
        for take in takers:
            take(batch)
        for row, (position, curve) in enumerate(zip(batch.positions, sampler(batch.scores), strict=True)):
            prediction = by_position[position]
            mistakes.append(_mistake(scoring, prediction, batch, row, curve if position in drawn else ()))
    return tuple(mistakes)


def _mistake(
    scoring: ScoringPass, prediction: Prediction, batch: ScoredBatch, row: int, curve: tuple[float, ...]
) -> Mistake:
    item, filters = scoring.batches.images.items[prediction.position], scoring.saliency.filters
    columns = [filters.index(best) for best in batch.top[row]]
    scores = batch.scores[row, columns].tolist()
    p_values = [None] * len(columns) if batch.p_values is None else batch.p_values[row, columns].tolist()
    return Mistake(
        position=prediction.position,
        file=item.name,
        label=prediction.label,
        predicted=prediction.predicted,
        label_confidence=prediction.label_confidence,
        confidence=prediction.confidence,
        filters=tuple(map(RankedFilter, batch.top[row], scores, p_values)),
        unusual=int(batch.unusual[row].sum()),
        note=item.note,
        curve=curve,
    )
