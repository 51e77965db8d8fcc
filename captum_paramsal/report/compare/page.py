"""The HTML report of a comparison: what each part of the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from torch import Tensor

from captum_paramsal.comparison import PRESETS, Comparison, MeasureAgreement, TrustSummary
from captum_paramsal.metrics import Column
from captum_paramsal.report.compare.data import ComparisonData
from captum_paramsal.report.compare.figures import agreement_drawing, map_pictures, metric_drawing, shown_pictures
from captum_paramsal.report.compare.page_pairs import PairRow, best_mean, best_method, competes, pair_rows, verdict
from captum_paramsal.report.compare.page_words import baseline_words, number_words, plain_words, unit_of_mean
from captum_paramsal.report.shared.templating import render
from captum_paramsal.sources import Picture
from captum_paramsal.sources.pictures import encode_tensor
from captum_paramsal.viz import SCALE_WORDS

_LISTED = 200


@dataclass(frozen=True)
class _Cell:
    """A mean with its interval, in words; both empty where there is no score."""

    mean: str
    interval: str
    images: int
    best: bool


@dataclass(frozen=True)
class _Row:
    """A method's line in a table.

    Attributes:
        method: Its name.
        baseline: Whether it does not look at the model.
        cells: By column, or by group.
    """

    method: str
    baseline: bool
    cells: Sequence[_Cell]


@dataclass(frozen=True)
class _Head:
    """What stands over a column: its name, which end is better, and the unit of its means."""

    name: str
    arrow: str
    better: str
    unit: str


@dataclass(frozen=True)
class _Metric:
    """A measure by itself.

    Attributes:
        head: Its name and unit.
        words: What it measures.
        best: The method with the best mean; empty where there is nothing to choose.
        verdict: What can be said of that method.
        pairs: That method against every other.
        drawing: The means.
        rows: The same as numbers.
    """

    head: _Head
    words: str
    best: str
    verdict: str
    pairs: Sequence[PairRow]
    drawing: str
    rows: Sequence[_Row]


@dataclass(frozen=True)
class _Rank:
    """A method's place by a measure.

    Attributes:
        rank: In words; empty where it has none.
        interval: Of the rank.
        top: Whether it may be the best.
        unbeaten: The controls that it is not better than.
    """

    rank: str = ""
    interval: str = ""
    top: bool = False
    unbeaten: str = ""


@dataclass(frozen=True)
class _Trust:
    """Which methods to trust, on a group of images.

    Attributes:
        sentences: What can be said.
        measures: That have ranks, with the images that these are of.
        rows: Of every ranked method, by measure.
        pairs: Of measures.
    """

    sentences: Sequence[str]
    measures: Sequence[tuple[str, int]]
    rows: Sequence[tuple[str, Sequence[_Rank]]]
    pairs: Sequence[tuple[MeasureAgreement, str, str]]


@dataclass(frozen=True)
class _Tile:
    method: str
    picture: Picture
    remark: str


@dataclass(frozen=True)
class _Card:
    number: int
    name: str
    label: str
    predicted: str
    explained: str
    correct: bool
    picture: Picture
    tiles: Sequence[_Tile]


def compare_page(report: ComparisonData) -> str:
    """The report as one HTML page that needs no other file."""
    groups, comparison = report.groups, report.comparison
    tables = {name: _table(part, report.tables[name]) for name, part in groups.items()}
    metrics = [_metric(report, tables, place) for place in range(len(comparison.columns))]
    methods = comparison.methods[: len(comparison.agreement)]
    pictures = shown_pictures(report)
    drawn = map_pictures(pictures, comparison.maps, report.scale)
    return render(
        "compare.html.jinja",
        report,
        run=comparison.context,
        groups={name: len(part) for name, part in groups.items()},
        tables=tables,
        most_images={
            name: [max((row.cells[place].images for row in rows), default=0) for place in range(len(metrics))]
            for name, rows in tables.items()
        },
        heads=[metric.head for metric in metrics],
        metrics=[metric for metric in metrics if metric.rows],
        unscored=[metric.head.name for metric in metrics if not metric.rows],
        methods={name: PRESETS[name].description if name in PRESETS else "" for name in methods},
        baselines={name: baseline_words(name) for name in comparison.methods[len(methods) :]},
        degenerate=int(comparison.degenerate.sum()),
        trust={name: _trust(one) for name, one in report.trust.items()},
        cards=[_card(report, place, *shown) for place, shown in enumerate(zip(pictures, drawn, strict=True))],
        scale=SCALE_WORDS[report.scale],
        agreement=agreement_drawing(comparison) if len(methods) > 1 else "",
        failures=comparison.failures[:_LISTED],
    )


def _table(part: Comparison, rows: Sequence[Mapping[str, Any]]) -> list[_Row]:
    """Every method by every column."""
    width, methods = len(part.columns), len(part.agreement)
    columns = [rows[place : methods * width : width] for place in range(width)]
    best = [best_mean(column) for column in columns]
    return [
        _Row(
            method,
            number >= methods,
            [_cell(rows[number * width + place], best[place], columns[place]) for place in range(width)],
        )
        for number, method in enumerate(part.methods)
    ]


def _cell(row: Mapping[str, Any], best: float | None, rows: Sequence[Mapping[str, Any]]) -> _Cell:
    known = [isfinite(row[end]) for end in ("mean", "low", "high")]
    interval = _between(row["low"], row["high"]) if all(known) else ""
    is_best = row["mean"] == best and competes(row, rows)
    return _Cell(number_words(row["mean"]) if known[0] else "", interval, row["images"], is_best)


def _metric(report: ComparisonData, tables: Mapping[str, Sequence[_Row]], place: int) -> _Metric:
    """One column by itself, the groups beside each other."""
    rows = [
        _Row(parts[0].method, parts[0].baseline, [part.cells[place] for part in parts])
        for parts in zip(*tables.values(), strict=True)
    ]
    rows = [row for row in rows if any(cell.mean for cell in row.cells)]
    note = report.comparison.columns[place]
    best = best_method(report, place)
    return _Metric(
        head=_head(note),
        words=plain_words(note),
        best=best,
        verdict=verdict(report, note, best) if best else "",
        pairs=pair_rows(report, note, best) if best else (),
        drawing=metric_drawing(report, place) if rows else "",
        rows=rows,
    )


def _trust(summary: TrustSummary) -> _Trust:
    names = list(dict.fromkeys(one.method for ranks in summary.ranks for one in ranks.methods))
    cells = {
        (one.method, ranks.measure): _Rank(
            f"{one.rank:g}", f"{one.low:g} to {one.high:g}", one.method in ranks.top, ", ".join(one.unbeaten)
        )
        for ranks in summary.ranks
        for one in ranks.methods
    }
    measures = [(ranks.measure, ranks.images) for ranks in summary.ranks]
    return _Trust(
        summary.sentences,
        measures,
        [(name, [cells.get((name, measure), _Rank()) for measure, _ in measures]) for name in names],
        [(pair, number_words(pair.correlation), _between(pair.low, pair.high)) for pair in summary.agreements],
    )


def _head(note: Column) -> _Head:
    arrow = {"higher": "\N{UPWARDS ARROW}", "lower": "\N{DOWNWARDS ARROW}"}.get(note.better, "")
    better = f"{note.better} is better" if note.better else "neither end is better"
    return _Head(note.name, arrow, better, unit_of_mean(note))


def _card(report: ComparisonData, place: int, picture: Tensor, images: Sequence[Picture]) -> _Card:
    comparison = report.comparison
    number, maps = comparison.kept[place], comparison.maps[place]
    item, names = report.items[number], comparison.methods[: len(maps)]
    return _Card(
        number=place + 1,
        name=item.name,
        label=report.class_name(item.label),
        predicted=report.class_name(int(comparison.predicted[number])),
        explained=report.class_name(int(comparison.targets[number])),
        correct=item.label == int(comparison.predicted[number]),
        picture=report.pictures.get(number) or encode_tensor(picture),
        tiles=[
            _Tile(name, image, _remark(report, number, column, values))
            for column, (name, image, values) in enumerate(zip(names, images, maps, strict=True))
        ],
    )


def _remark(report: ComparisonData, number: int, column: int, values: Tensor) -> str:
    """What is wrong with a method's map of an image, or nothing."""
    comparison = report.comparison
    if any(
        (failure.method, failure.image, failure.step) == (comparison.methods[column], number, "maps")
        for failure in comparison.failures
    ):
        return "failed"
    known = values[values.isfinite()]
    if not len(known):
        return "no map"
    if not comparison.degenerate[column, number]:
        return ""
    if len(known) < values.numel():
        return "not finite"
    return "the same everywhere" if known.any() else "zero everywhere"


def _between(low: float, high: float) -> str:
    return f"{number_words(low)} to {number_words(high)}"
