"""The HTML report on a cure: what each part of the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from captum_paramsal.repair import Verdict
from captum_paramsal.report.cure.data import CureData
from captum_paramsal.report.shared.templating import render
from captum_paramsal.sources import Picture

_LISTED = 25
"""Filters that are listed."""
_NAMES = {
    "filters": "the suspected filters",
    "whole network": "the whole network",
    "last layer": "the last layer",
    "norms": "factors and offsets of the norms",
    "random filters": "as many filters at random",
    "any": "filters, the whole network, the last layer or the norms",
}
_KINDS = (
    ("cured", "Mistakes that are cured", "Mistakes that would be cured"),
    ("not cured", "Mistakes that are not", "Mistakes that would not be"),
    ("broken", "Right images that break", "Right images that would break"),
)


@dataclass(frozen=True)
class _Share:
    """How many of how many, and where the share of all such images lies, with its interval."""

    count: int
    images: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class _Way:
    """A way to spend the budget; without shares where nothing was judged."""

    name: str
    numbers: int
    size: float
    cured: _Share | None
    broken: _Share | None
    status: str
    reason: str


@dataclass(frozen=True)
class _FilterRow:
    """A filter: its change as a share of its size, and how long its bar is, in percent."""

    name: str
    change: float
    size: float


@dataclass(frozen=True)
class _Tile:
    """A judging image, with what was said of it before and is said now."""

    file: str
    label: str
    before: str
    after: str
    confidence: float
    picture: Picture | None


@dataclass(frozen=True)
class _Kind:
    """Judging images of one outcome: how many, and some of them."""

    title: str
    images: int
    tiles: Sequence[_Tile]


def cure_page(report: CureData) -> str:
    """The report as one HTML page that needs no other file."""
    cure = report.cure
    ways = _ways(report)
    return render(
        "cure.html.jinja",
        report,
        found=cure,
        headline=_headline(report),
        way=ways[0],
        ways=ways if cure.alternatives else [],
        beside=_beside(ways),
        kinds=[
            kind
            for outcome, kept, refused in _KINDS
            if (kind := _kind(report, outcome, kept if cure.kept else refused)).images
        ],
        filters=_filters(report),
        changed=int((cure.changes > 0).sum()),
        parts={name: {part: len(places) for part, places in of.items()} for name, of in cure.parts.items()},
        rule=report.context["parameters"]["rule"],
    )


def _headline(report: CureData) -> str:
    verdict = report.cure.verdict
    if verdict.status == "too few":
        return "Too few mistakes to tell"
    if verdict.status == "refused":
        return "Refused: the model stays as it is"
    return f"Kept: {int(verdict.cured.sum()):,} of {len(verdict.cured):,} unseen mistakes are cured"


def _ways(report: CureData) -> list[_Way]:
    cure = report.cure
    first = (cure.changed, cure.context["numbers"], cure.context["size"], cure.verdict)
    others = ((one.name, one.numbers, one.size, one.verdict) for one in cure.alternatives)
    return [_way(*way) for way in (first, *others)]


def _way(name: str, numbers: int, size: float, verdict: Verdict) -> _Way:
    cured = broken = None
    if len(verdict.cured):
        cured = _Share(int(verdict.cured.sum()), len(verdict.cured), verdict.cured_share, *verdict.cured_interval)
        broken = _Share(int(verdict.broken.sum()), len(verdict.broken), verdict.broken_share, *verdict.broken_interval)
    return _Way(_NAMES.get(name, name), numbers, size, cured, broken, verdict.status, verdict.reason)


def _beside(ways: Sequence[_Way]) -> str:
    """What the alternatives say of the cure, in a sentence; empty without any."""
    if len(ways) == 1:
        return ""
    mine = _kept_cures(ways[0])
    best = max(ways[1:], key=_kept_cures)
    most = _kept_cures(best)
    if not mine and not most:
        return "By the same rule nothing else would have been kept either."
    if most > mine:
        return f"By the same rule {best.name} would have been kept, and cures more: {most:,}, against {mine:,}."
    if most == mine:
        return f"By the same rule {best.name} would have been kept, and cures as many."
    if not most:
        return "By the same rule nothing else would have been kept."
    return f"By the same rule {best.name} would have been kept, and cures fewer: {most:,}, against {mine:,}."


def _kept_cures(way: _Way) -> int:
    return way.cured.count if way.cured is not None and way.status == "kept" else 0


def _kind(report: CureData, outcome: str, title: str) -> _Kind:
    numbers = report.with_outcome(outcome)
    shown = numbers[: report.context["parameters"]["shown"]]
    return _Kind(title, len(numbers), [_tile(report, number) for number in shown])


def _tile(report: CureData, number: int) -> _Tile:
    image = report.judged[number]
    after = "" if image.after is None else report.class_name(image.after)
    names = report.class_name(image.label), report.class_name(image.before), after
    return _Tile(image.file, *names, image.confidence, report.pictures.get(number))


def _filters(report: CureData) -> list[_FilterRow]:
    cure = report.cure
    if cure.verdict.status == "too few":
        return []
    changes = cure.changes[:_LISTED].tolist()
    largest = max([change for change in changes if isfinite(change)], default=0.0) or 1.0
    return [
        _FilterRow(str(one), change, round(100 * min(change / largest, 1.0), 1))
        for one, change in zip(cure.filters[:_LISTED], changes, strict=True)
    ]
