"""What the usual suspects look for: the section with a row of pictures for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from captum_paramsal.filters import Filter
from captum_paramsal.reference import ClassShare
from captum_paramsal.report.explain.data import ExplanationData
from captum_paramsal.report.explain.exemplar_records import FilterExemplars
from captum_paramsal.sources import Picture

_LEVEL = 0.05
"""Of the test that a class must pass to be said: most exemplars are of some class by chance."""


@dataclass(frozen=True)
class ClassWords:
    """A class among the exemplars, by its name."""

    name: str
    share: ClassShare


@dataclass(frozen=True)
class ExemplarTile:
    """One exemplar; no picture where it is not at hand."""

    picture: Picture | None
    label: str
    file: str


@dataclass(frozen=True)
class ExemplarRow:
    """A suspect, what is known of its exemplars, and their pictures."""

    anchor: str
    exemplars: FilterExemplars
    classes: Sequence[ClassWords]
    tiles: Sequence[ExemplarTile]


def anchor_of(explanation: ExplanationData, suspect: Filter) -> str:
    """Where the page shows what a filter looks for; empty where it does not."""
    filters = [one.filter for one in explanation.exemplars.filters]
    return f"looks-{filters.index(suspect) + 1}" if suspect in filters else ""


def exemplar_rows(explanation: ExplanationData) -> list[ExemplarRow]:
    """A row for each suspect whose exemplars are known."""
    return [_row(explanation, one) for one in explanation.exemplars.filters]


def _row(explanation: ExplanationData, one: FilterExemplars) -> ExemplarRow:
    pictures = explanation.crops.get(one.filter, {})
    name = explanation.class_name
    return ExemplarRow(
        anchor=anchor_of(explanation, one.filter),
        exemplars=one,
        classes=[ClassWords(name(share.label), share) for share in one.classes if share.p_value <= _LEVEL],
        tiles=[
            ExemplarTile(pictures.get(image.number), name(image.label) if image.label >= 0 else "", image.file)
            for image in one.images
        ],
    )
