"""What the usual suspects look for: the section with a row of pictures for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from captum_paramsal.filters import Filter
from captum_paramsal.reference import ClassShare
from captum_paramsal.report.explain.data import ExplanationData
from captum_paramsal.report.explain.exemplar_records import ExemplarImage, FilterExemplars
from captum_paramsal.report.shared.page_pictures import PagePictures

_LEVEL = 0.05
"""Of the test that a class must pass to be said: most exemplars are of some class by chance."""
_TINY = 40
"""Pixels of the width of a crop below which each is to be seen."""
_MOST = 100
"""More than the exemplars of a filter that are shown."""


@dataclass(frozen=True)
class ClassWords:
    """A class among the exemplars, by its name."""

    name: str
    share: ClassShare


@dataclass(frozen=True)
class ExemplarTile:
    """One exemplar; the number of its picture is None where that is not at hand."""

    picture: int | None
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


def crop_pictures(explanation: ExplanationData) -> PagePictures:
    """What the suspects see in their exemplars, for the section and for the cards."""
    pictures = {
        number: explanation.crops[one.filter][image.number]
        for place, one in enumerate(explanation.exemplars.filters)
        for number, image in _numbered(explanation, place, one)
    }
    return PagePictures(pictures, "crop", tiny=_TINY)


def exemplar_rows(explanation: ExplanationData) -> list[ExemplarRow]:
    """A row for each suspect whose exemplars are known."""
    return [_row(explanation, place, one) for place, one in enumerate(explanation.exemplars.filters)]


def _numbered(explanation: ExplanationData, place: int, one: FilterExemplars) -> Iterator[tuple[int, ExemplarImage]]:
    """The exemplars of a suspect that have a picture, each with a number of its own on the page."""
    pictures = explanation.crops.get(one.filter, {})
    for column, image in enumerate(one.images):
        if image.number in pictures:
            yield place * _MOST + column, image


def _row(explanation: ExplanationData, place: int, one: FilterExemplars) -> ExemplarRow:
    pictures = {image.number: number for number, image in _numbered(explanation, place, one)}
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
