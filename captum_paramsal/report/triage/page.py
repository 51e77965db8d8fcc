"""The HTML report of a triage: what each part of the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from captum_paramsal.report.shared.find_choices import name_choices, pair_choices
from captum_paramsal.report.shared.page_pictures import PagePictures
from captum_paramsal.report.shared.templating import render
from captum_paramsal.report.triage.data import TriageData
from captum_paramsal.report.triage.figures import confusion_drawing, drawn_classes, filter_drawing
from captum_paramsal.report.triage.page_doubts import doubt_tiles
from captum_paramsal.report.triage.page_groups import (
    class_pairs,
    cure_lines,
    filter_lines,
    group_cards,
    mistake_tiles,
    near_rows,
    shown_ungrouped,
    typical,
    ungrouped,
)
from captum_paramsal.triage import Triage

_PAIRS = 15
_FILTERS = 12


@dataclass(frozen=True)
class _PairRow:
    """Two classes that are confused: how often, and the share of the true class's images, with its bar in percent."""

    label: str
    predicted: str
    count: int
    share: float
    size: float


@dataclass(frozen=True)
class _FilterRow:
    """A filter against correct images of the same class: superiority, and its q-value."""

    name: str
    superiority: float
    q_value: float


def triage_page(report: TriageData) -> str:
    """The report as one HTML page that needs no other file."""
    triage = report.triage
    alone, cards = ungrouped(triage), group_cards(report)
    members = [number for card in cards for number in triage.members(card.number).tolist()]
    return render(
        "triage.html.jinja",
        report,
        found=triage,
        filters=len(triage.filters),
        layers=len(triage.filters.layers),
        pairs=_pairs(report),
        pair_count=len(triage.confusion_pairs()),
        confusion=confusion_drawing(report),
        drawn=len(drawn_classes(triage)),
        classes=len({*triage.labels.tolist(), *triage.predicted.tolist()}),
        significant=int(triage.significant.sum()),
        standing_out=_standing_out(triage),
        all_filters=filter_lines(triage, None, _FILTERS),
        usual=typical(triage, None),
        drawing=filter_drawing(report),
        cards=cards,
        photos=PagePictures(report.pictures),
        cures=cure_lines(report),
        near=near_rows(report),
        doubtful=doubt_tiles(report),
        in_groups=len(triage) - len(alone),
        ungrouped=len(alone),
        ungrouped_pairs=report.pairs_among(alone)[:_PAIRS],
        ungrouped_tiles=mistake_tiles(report, shown_ungrouped(triage)),
        found_pairs=pair_choices(class_pairs(triage, members), report.class_name),
        suspects=name_choices(str(line.guilty.filter) for card in cards for line in card.filters),
    )


def _pairs(report: TriageData) -> list[_PairRow]:
    pairs = report.triage.confusion_pairs()[:_PAIRS]
    largest = max(pair.share for pair in pairs)
    return [
        _PairRow(
            report.class_name(pair.label),
            report.class_name(pair.predicted),
            pair.count,
            pair.share,
            round(100 * pair.share / largest, 1),
        )
        for pair in pairs
    ]


def _standing_out(triage: Triage) -> Sequence[_FilterRow]:
    """The most significant filters, significant or not: where none is, a reader sees by how much."""
    places = sorted(
        range(len(triage.filters)), key=lambda place: (float(triage.q_values[place]), -float(triage.superiority[place]))
    )
    kept = [place for place in places if triage.significant[place]] or places[:3]
    return [
        _FilterRow(str(triage.filters[place]), float(triage.superiority[place]), float(triage.q_values[place]))
        for place in kept[:_FILTERS]
    ]
