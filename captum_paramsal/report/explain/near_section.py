"""Mistakes beside those that the same filters made: the section with their pictures, and the links of each card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from markupsafe import Markup
from torch.nn.functional import interpolate

from captum_paramsal.report.explain.data import ExplanationData, Mistake
from captum_paramsal.sources import Picture
from captum_paramsal.viz import decoded, neighbor_grid, to_svg

_ROWS = 5
_LARGEST = 112
"""Pixels along a picture's longer side: about as large as it is seen."""


@dataclass(frozen=True)
class NearCard:
    """A neighbour of a mistake: the number of its card, what was confused, and how similar both are."""

    number: int
    label: str
    predicted: str
    similarity: float


def near_cards(explanation: ExplanationData, mistake: Mistake, numbers: Mapping[int, int]) -> list[NearCard]:
    """The neighbours of a mistake, nearest first.

    Args:
        explanation: All mistakes.
        mistake: One of them.
        numbers: Number of the card of each mistake that has one, by position.
    """
    by_position = {other.position: other for other in explanation.mistakes}
    return [
        NearCard(
            numbers[near.position],
            explanation.class_name(by_position[near.position].label),
            explanation.class_name(by_position[near.position].predicted),
            near.similarity,
        )
        for near in explanation.neighbors.get(mistake.position, ())
    ]


def near_drawing(explanation: ExplanationData, numbers: Mapping[int, int]) -> Markup:
    """The first cards' mistakes and their neighbours as an ``<svg>``; empty where there are none, or no pictures."""
    pictures = explanation.pictures
    queries = [
        position
        for position in sorted(numbers, key=lambda position: numbers[position])
        if position in pictures and all(near.position in pictures for near in explanation.neighbors.get(position, ()))
    ]
    queries = [position for position in queries if explanation.neighbors.get(position)][:_ROWS]
    if not queries:
        return Markup()
    near = [explanation.neighbors[position] for position in queries]
    shown = list(dict.fromkeys([*queries, *(other.position for others in near for other in others)]))
    by_position = {mistake.position: mistake for mistake in explanation.mistakes}
    axes = neighbor_grid(
        [_small(pictures[position]) for position in shown],
        [shown.index(position) for position in queries],
        [[shown.index(other.position) for other in others] for others in near],
        [[other.similarity for other in others] for others in near],
        labels=[by_position[position].label for position in shown],
        predicted=[by_position[position].predicted for position in shown],
        names=explanation.classes,
    )
    words = _words(explanation, numbers, queries)
    return Markup(to_svg(axes, words, prefix="near-"))  # noqa: S704 -- drawn by matplotlib, which escapes its texts


def _words(explanation: ExplanationData, numbers: Mapping[int, int], queries: Sequence[int]) -> str:
    nearest = [
        f"nearest to mistake {numbers[position]} is mistake {numbers[near[0].position]}, {near[0].similarity:.2f}"
        for position in queries
        if (near := explanation.neighbors[position])
    ]
    return f"Pictures of mistakes, each beside those with the most similar profiles: {'; '.join(nearest)}."


def _small(picture: Picture) -> torch.Tensor:
    pixels = decoded(picture.data, picture.mime)
    share = _LARGEST / max(pixels.shape[1:])
    if share >= 1:
        return pixels
    size = [max(1, round(side * share)) for side in pixels.shape[1:]]
    return interpolate(pixels[None], size, mode="area")[0].clamp(0, 1)
