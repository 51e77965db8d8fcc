"""The HTML report of a triage: what each part of the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from captum_paramsal.report.shared.templating import environment
from captum_paramsal.report.triage.groups import alone, filter_lines, group_cards, mistake_tiles, pictured, typical
from captum_paramsal.report.triage.pictures import confusion_drawing, drawn_classes, filter_drawing
from captum_paramsal.triage import Triage

if TYPE_CHECKING:
    from captum_paramsal.report.triage.report import TriageReport

_PAIRS = 15
_FILTERS = 12
_SKIPPED = 200


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
    """A filter beside right images of the same class: superiority, and its q-value."""

    name: str
    superiority: float
    q_value: float


def render(one: TriageReport) -> str:
    """The report as one HTML page that needs no other file."""
    found = one.triage
    lonely = alone(found)
    shown = set(pictured(found))
    page = (
        environment()
        .get_template("triage.html.jinja")
        .render(
            one=one,
            found=found,
            context=one.context,
            filters=len(found.filters),
            layers=len(found.filters.layers),
            pairs=_pairs(one),
            pair_count=len(found.confusion_pairs()),
            confusion=confusion_drawing(one),
            drawn=len(drawn_classes(found)),
            classes=len({*found.labels.tolist(), *found.predicted.tolist()}),
            significant=int(found.significant.sum()),
            standing_out=_standing_out(found),
            all_filters=filter_lines(found, None, _FILTERS),
            usual=typical(found, None),
            drawing=filter_drawing(one),
            cards=group_cards(one),
            in_groups=len(found) - len(lonely),
            alone=len(lonely),
            alone_pairs=one.pairs_among(lonely)[:_PAIRS],
            alone_tiles=mistake_tiles(one, [number for number in lonely if number in shown]),
            skipped=one.skipped[:_SKIPPED],
        )
    )
    return page + "\n"


def _pairs(one: TriageReport) -> list[_PairRow]:
    pairs = one.triage.confusion_pairs()[:_PAIRS]
    largest = max(pair.share for pair in pairs)
    return [
        _PairRow(
            one.class_name(pair.label),
            one.class_name(pair.predicted),
            pair.count,
            pair.share,
            round(100 * pair.share / largest, 1),
        )
        for pair in pairs
    ]


def _standing_out(found: Triage) -> Sequence[_FilterRow]:
    """The surest filters, significant or not: where none is, a reader sees by how much."""
    places = sorted(
        range(len(found.filters)), key=lambda place: (float(found.q_values[place]), -float(found.superiority[place]))
    )
    kept = [place for place in places if found.significant[place]] or places[:3]
    return [
        _FilterRow(str(found.filters[place]), float(found.superiority[place]), float(found.q_values[place]))
        for place in kept[:_FILTERS]
    ]
