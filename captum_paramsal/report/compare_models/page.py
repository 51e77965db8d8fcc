"""The HTML report on two checkpoints: what each part of the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from captum_paramsal.models_compared import GROUPS, MEASURES, ChangedFilter
from captum_paramsal.report.compare_models.data import GROUP_WORDS, TOP, ModelComparisonData
from captum_paramsal.report.compare_models.figures import drawn_layers, layer_drawing, moved_drawing, pictures_of_maps
from captum_paramsal.report.shared.templating import render
from captum_paramsal.sources import Picture

_PAIRS = 6
_FEWEST = 5
"""Images below which a difference is never called one."""
_PARTS = {
    "filters": "filters",
    "norm weights": "weights of norms",
    "norm statistics": "running statistics of norms",
    "other parameters": "all other parameters: biases, layers that are not scored",
    "left over": "left over: buffers without a share, error of the integral",
}
_MEASURES = {
    "profile_correlation": "saliency of the filters, correlation",
    "box_iou": "boxes of the traces, intersection over union",
    "trace_correlation": "heat maps of the traces, rank correlation",
    "saliency_correlation": "maps of input-space saliency, rank correlation",
}


@dataclass(frozen=True)
class _FilterRow:
    """A filter that moved far: how long its bar is, in percent, its change and its shares in words."""

    row: ChangedFilter
    size: float
    change: str
    only_a: str
    only_b: str


@dataclass(frozen=True)
class _Compared:
    """A layer or a measure in each group: mean with its interval, and the difference to the control, in words.

    Attributes:
        name: Of the layer or measure.
        means: By group; empty where there is none.
        differences: By group, with their intervals; empty without.
        apart: Groups whose difference has an interval without 0, and is over enough images.
        parting: By group, images whose traces part there.
    """

    name: str
    means: Mapping[str, str]
    differences: Mapping[str, str]
    apart: frozenset[str]
    parting: Mapping[str, int]


@dataclass(frozen=True)
class _Card:
    """An image that is shown with its maps in both checkpoints."""

    number: int
    file: str
    group: str
    label: str
    said_a: str
    said_b: str
    picture: Picture | None
    maps: Mapping[str, Picture | None]
    parting: str
    similarity: Mapping[str, str]


@dataclass(frozen=True)
class _Listed:
    """An image with what the checkpoint that is wrong says of it, and how sure it is."""

    file: str
    label: str
    said: str
    confidence: float
    picture: Picture | None


def models_page(report: ModelComparisonData) -> str:
    """The report as one HTML page that needs no other file."""
    differences = report.differences
    groups = {group: len(differences.of_group(group)) for group in GROUPS}
    return render(
        "compare_models.html.jinja",
        report,
        words=GROUP_WORDS,
        groups={group: count for group, count in groups.items() if count},
        shared={"only_a": len(report.comparison.only_a), "only_b": len(report.comparison.only_b)},
        turned={group: report.turned(group)[:_PAIRS] for group in GROUPS[:2]},
        listed={group: _listed(report, group) for group in GROUPS[:2]},
        filters=_filters(report),
        by_loss=_by_loss(report),
        filter_count=len(report.comparison.filters),
        layer_count=len(report.comparison.filters.layers),
        parts=_parts(report),
        filter_drawing=moved_drawing(report),
        layers=_compared(differences.layer_table(), "layer"),
        drawn=len(drawn_layers(report)),
        layer_drawing=layer_drawing(report),
        measures=_compared(differences.similarity_table(), "measure"),
        standing=_standing(report),
        cards=[_card(report, place) for place in range(len(differences.kept))],
    )


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, for people; a dash where there is none.

    >>> signed(0.125), signed(-1.5, 1), signed(float("nan")), signed(-0.001)
    ('+0.12', '\N{MINUS SIGN}1.5', '\N{EN DASH}', '0.00')
    """
    if not isfinite(value):
        return "\N{EN DASH}"
    text = f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return text if any(digit in "123456789" for digit in text) else text[1:]


def _plain(value: float) -> str:
    return signed(value).removeprefix("+")


def _filters(report: ModelComparisonData) -> list[_FilterRow]:
    top = [row for row in report.comparison.top(TOP) if row.change > 0]
    return [_filter_row(row, row.change / top[0].change) for row in top]


def _by_loss(report: ModelComparisonData) -> list[_FilterRow]:
    if not len(report.comparison.only_a):
        return []
    top = [row for row in report.comparison.top(TOP, by="loss") if row.share_only_a > 0]
    return [_filter_row(row, row.share_only_a / top[0].share_only_a) for row in top]


def _filter_row(row: ChangedFilter, size: float) -> _FilterRow:
    shares = signed(row.share_only_a), signed(row.share_only_b)
    return _FilterRow(row, round(100 * size, 1), _plain(row.change), *shares)


def _parts(report: ModelComparisonData) -> list[tuple[str, str, str]]:
    return [
        (_PARTS[row["part"]], signed(row["only_a"]), signed(row["only_b"])) for row in report.comparison.loss_table()
    ]


def _compared(rows: Sequence[Mapping[str, Any]], kind: str) -> list[_Compared]:
    names = dict.fromkeys(row[kind] for row in rows)
    return [_of_name(name, {row["group"]: row for row in rows if row[kind] == name}) for name in names]


def _of_name(name: str, rows: Mapping[str, Mapping[str, Any]]) -> _Compared:
    differences, apart = {}, set()
    for group, row in rows.items():
        low, high = row["difference_low"], row["difference_high"]
        interval = f" ({signed(low)} to {signed(high)})" if isfinite(low) and isfinite(high) else ""
        differences[group] = f"{signed(row['difference'])}{interval}"
        if (low > 0 or high < 0) and row["images"] >= _FEWEST:
            apart.add(group)
    return _Compared(
        name=_MEASURES.get(name, name),
        means={group: _plain(row["mean"]) for group, row in rows.items()},
        differences=differences,
        apart=frozenset(apart),
        parting={group: row.get("part_there", 0) for group, row in rows.items()},
    )


def _standing(report: ModelComparisonData) -> dict[str, list[dict[str, str]]]:
    rows = report.standing_out()
    return {
        group: [
            {"filter": row["filter"]}
            | {name: signed(row[name], 1) for name in ("standing_a", "standing_b", "difference", "control")}
            for row in rows
            if row["group"] == group
        ]
        for group in dict.fromkeys(row["group"] for row in rows)
    }


def _card(report: ModelComparisonData, place: int) -> _Card:
    differences = report.differences
    row = int(differences.kept[place])
    number = int(differences.images[row])
    similarity = dict(zip(MEASURES, differences.similarity[row].tolist(), strict=True))
    return _Card(
        number=place + 1,
        file=report.names[number],
        group=GROUPS[int(differences.group[row])],
        label=report.class_name(int(differences.labels[row])),
        said_a=report.class_name(int(differences.predicted_a[row])),
        said_b=report.class_name(int(differences.predicted_b[row])),
        picture=report.pictures.get(number),
        maps=pictures_of_maps(report, place),
        parting=differences.parting[row],
        similarity={name: _plain(value) for name, value in similarity.items()},
    )


def _listed(report: ModelComparisonData, group: str) -> list[_Listed]:
    return [
        _Listed(
            image.file,
            report.class_name(image.label),
            report.class_name(image.wrong[0]),
            image.wrong[1],
            None if image.number is None else report.pictures.get(image.number),
        )
        for image in report.listed(group)
    ]
