"""Mistakes beside those that the same filters made: the section with their pictures, and the links of each card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from captum_paramsal.report.explain.data import ExplanationData, Mistake
from captum_paramsal.report.shared.page_pictures import SHOWN, NearRows, NearTile


@dataclass(frozen=True)
class NearCard:
    """A neighbour of a mistake: its position, the number of its card, what was confused, and how similar both are."""

    position: int
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
            near.position,
            numbers[near.position],
            explanation.class_name(by_position[near.position].label),
            explanation.class_name(by_position[near.position].predicted),
            near.similarity,
        )
        for near in explanation.neighbors.get(mistake.position, ())
        if near.position in numbers
    ]


def near_rows(explanation: ExplanationData, numbers: Mapping[int, int]) -> NearRows:
    """The first cards' mistakes and their neighbours; none without any, or without their pictures."""
    by_position = {other.position: other for other in explanation.mistakes}

    def tile(position: int, similarity: float | None) -> NearTile:
        mistake, number = by_position[position], numbers[position]
        label, predicted = explanation.class_name(mistake.label), explanation.class_name(mistake.predicted)
        return NearTile(position, label, predicted, similarity, f"#mistake-{number}", f"mistake {number}")

    rows = []
    for position in sorted(numbers, key=lambda position: numbers[position]):
        others = [other for other in explanation.neighbors.get(position, ()) if other.position in numbers]
        if others and {position, *(other.position for other in others)} <= explanation.pictures.keys():
            rows.append([tile(position, None), *(tile(other.position, other.similarity) for other in others)])
    return rows[:SHOWN]
