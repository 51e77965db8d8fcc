"""The HTML report of a comparison: what each part of the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from captum_paramsal.comparison import PRESETS, Comparison
from captum_paramsal.comparison.result import ColumnNote
from captum_paramsal.report.comparison_pictures import agreement_drawing, map_pictures, metric_drawing, shown_picture
from captum_paramsal.report.comparison_words import plain_words
from captum_paramsal.report.templating import environment
from captum_paramsal.sources import Picture
from captum_paramsal.sources.pictures import encode_tensor

if TYPE_CHECKING:
    from captum_paramsal.report.side_by_side import SideBySide

__all__ = ["render"]

_LISTED = 200
_LEVEL = 0.05
_BLIND = ("centre", "random")
"""Presets that do not look at the model: they are never the best, whatever they score."""
_CLOSE = 6


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
        yardstick: Whether it does not look at the model.
        cells: By column, or by group.
    """

    method: str
    yardstick: bool
    cells: Sequence[_Cell]


@dataclass(frozen=True)
class _Metric:
    note: ColumnNote
    words: str
    verdict: str
    drawing: str
    rows: Sequence[_Row]


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
    prediction: str
    explained: str
    right: bool
    picture: Picture
    tiles: Sequence[_Tile]


def render(found: SideBySide) -> str:
    """The report as one HTML page that needs no other file."""
    groups, comparison = found.groups, found.comparison
    tables = {name: _table(part, found.tables[name]) for name, part in groups.items()}
    metrics = [_metric(found, tables, place) for place in range(len(comparison.columns))]
    methods = comparison.methods[: len(comparison.agreement)]
    page = (
        environment()
        .get_template("comparison.html.jinja")
        .render(
            found=found,
            context=found.context,
            run=comparison.context,
            groups={name: len(part) for name, part in groups.items()},
            tables=tables,
            metrics=[metric for metric in metrics if metric.rows],
            unscored=[note.note.name for note in metrics if not note.rows],
            methods={name: PRESETS[name].description if name in PRESETS else "" for name in methods},
            yardsticks=comparison.methods[len(methods) :],
            degenerate=int(comparison.degenerate.sum()),
            cards=[_card(found, place) for place in range(len(comparison.kept))],
            agreement=agreement_drawing(comparison) if len(methods) > 1 else "",
            failures=comparison.failures[:_LISTED],
            skipped=found.skipped[:_LISTED],
        )
    )
    return page + "\n"


def _table(part: Comparison, rows: Sequence[Mapping[str, Any]]) -> list[_Row]:
    """Every method by every column."""
    width, methods = len(part.columns), len(part.agreement)
    best = [_best(rows[place : methods * width : width]) for place in range(width)]
    return [
        _Row(
            method,
            number >= methods,
            [_cell(rows[number * width + place], best[place]) for place in range(width)],
        )
        for number, method in enumerate(part.methods)
    ]


def _best(rows: Sequence[Mapping[str, Any]]) -> float | None:
    means = [row["mean"] for row in rows if isfinite(row["mean"]) and row["method"] not in _BLIND]
    if len(means) < 2 or not rows[0]["better"]:
        return None
    return float(max(means) if rows[0]["better"] == "higher" else min(means))


def _cell(row: Mapping[str, Any], best: float | None) -> _Cell:
    known = [isfinite(row[end]) for end in ("mean", "low", "high")]
    interval = f"{_number(row['low'])} to {_number(row['high'])}" if all(known) else ""
    is_best = row["mean"] == best and row["method"] not in _BLIND
    return _Cell(_number(row["mean"]) if known[0] else "", interval, row["images"], is_best)


def _number(value: float) -> str:
    """Three digits, for people.

    >>> _number(0.123456), _number(1234567.0), _number(-0.00001234), _number(0.0)
    ('0.123', '1.23e+06', '\N{MINUS SIGN}1.23e-05', '0')
    """
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}", 1) if value < 0 else f"{value:.3g}"


def _metric(found: SideBySide, tables: Mapping[str, Sequence[_Row]], place: int) -> _Metric:
    """One column by itself, the groups beside each other."""
    rows = [
        _Row(parts[0].method, parts[0].yardstick, [part.cells[place] for part in parts])
        for parts in zip(*tables.values(), strict=True)
    ]
    rows = [row for row in rows if any(cell.mean for cell in row.cells)]
    note = found.comparison.columns[place]
    drawing = metric_drawing(found, place) if rows else ""
    return _Metric(note, plain_words(note), _verdict(found, note, place), drawing, rows)


def _verdict(found: SideBySide, note: ColumnNote, place: int) -> str:
    """Which method has the best mean over all images, and which ones cannot be told from it."""
    comparison = found.comparison
    width, methods = len(comparison.columns), comparison.methods[: len(comparison.agreement)]
    rows = found.tables["all"][place : len(methods) * width : width]
    best = _best(rows)
    if best is None:
        return ""
    first = next(row["method"] for row in rows if row["mean"] == best and row["method"] not in _BLIND)
    pairs = [pair for pair in found.pairs[note.name] if first in (pair.first, pair.second)]
    others = {pair.second if pair.first == first else pair.first: pair.adjusted for pair in pairs}
    close = [name for name, p_value in others.items() if not p_value < _LEVEL]
    words = f"Over all images, {first} has the best mean."
    if not others:
        return words
    if not close:
        return f"{words} It differs from every other method on the same images (Wilcoxon, Holm, p < {_LEVEL})."
    named = ", ".join(close[:_CLOSE]) + (f" and {len(close) - _CLOSE} more" if len(close) > _CLOSE else "")
    return f"{words} These images do not tell it apart from {named} (Wilcoxon, Holm, p ≥ {_LEVEL} or too few images)."


def _card(found: SideBySide, place: int) -> _Card:
    comparison = found.comparison
    number, maps = comparison.kept[place], comparison.maps[place]
    item, picture = found.items[number], shown_picture(found, place)
    names = comparison.methods[: len(maps)]
    images = map_pictures(picture, maps)
    return _Card(
        number=place + 1,
        name=item.name,
        label=found.class_name(item.label),
        prediction=found.class_name(int(comparison.predicted[number])),
        explained=found.class_name(int(comparison.targets[number])),
        right=item.label == int(comparison.predicted[number]),
        picture=found.pictures.get(number) or encode_tensor(picture),
        tiles=[
            _Tile(name, image, _remark(found, number, column, known=bool(one.isfinite().any())))
            for column, (name, image, one) in enumerate(zip(names, images, maps, strict=True))
        ],
    )


def _remark(found: SideBySide, number: int, column: int, *, known: bool) -> str:
    if not known:
        return "no map"
    return "degenerate" if bool(found.comparison.degenerate[column, number]) else ""
