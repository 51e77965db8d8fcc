"""Mistakes beside those that the same filters made: the section with their pictures, and the links of each card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from captum_paramsal.report.explain.data import ExplanationData, Mistake
from captum_paramsal.report.shared.neighbor_drawing import SHOWN, draw_neighbors


@dataclass(frozen=True)
class NearCard:
    """A neighbour of a mistake: the number of its card, what was confused, and how similar both are."""

    number: int
    label: str
    predicted: str
    similarity: float


def near_cards(explanation: ExplanationData, mistake: Mistake, numbers: Mapping[int, int]) -> list[NearCard]:
    """The neighbours of a mistake that have a card, nearest first.

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
        if near.position in numbers
    ]


def near_drawing(explanation: ExplanationData, numbers: Mapping[int, int]) -> Markup:
    """The first cards' mistakes and their neighbours as an ``<svg>``; empty where there are none, or no pictures."""
    in_order = sorted(numbers, key=lambda position: numbers[position])
    near = {
        position: [other for other in explanation.neighbors.get(position, ()) if other.position in numbers]
        for position in in_order
    }
    pictured = {
        position: [(other.position, other.similarity) for other in others]
        for position, others in near.items()
        if others and {position, *(other.position for other in others)} <= explanation.pictures.keys()
    }
    drawn = dict(list(pictured.items())[:SHOWN])
    nearest = [
        f"nearest to mistake {numbers[position]} is mistake {numbers[others[0][0]]}, {others[0][1]:.2f}"
        for position, others in drawn.items()
    ]
    words = f"Pictures of mistakes, each beside those with the most similar profiles: {'; '.join(nearest)}."
    classes_of = {mistake.position: (mistake.label, mistake.predicted) for mistake in explanation.mistakes}
    return draw_neighbors(drawn, explanation.pictures, classes_of, explanation.classes, words)
