"""What the page says of a set of mistakes: its pairs of classes, its filters, its examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from captum_paramsal.report.shared.find_choices import pair_key
from captum_paramsal.report.shared.page_pictures import SHOWN, NearRows, NearTile
from captum_paramsal.report.triage.data import PATCH_FILE, TriageData, wanted_change
from captum_paramsal.stats import median
from captum_paramsal.triage import GuiltyFilter, Triage

_GROUPS = 12
_EXAMPLES = 6
_UNGROUPED = 12
_FILTERS = 6
_PAIRS = 4


@dataclass(frozen=True)
class FilterLine:
    """A guilty filter: what is known, how long its bar is, in percent, and in words what the mistakes want of it."""

    guilty: GuiltyFilter
    size: float
    wanted_change: str


@dataclass(frozen=True)
class Tile:
    """A mistake, by its number, in a grid of pictures; its similarity is that with its group, None if in none."""

    number: int
    file: str
    label: str
    predicted: str
    confidence: float
    similarity: float | None


@dataclass(frozen=True)
class CureLine:
    """What came of a group's cure, and the file of its patch if it was kept.

    Attributes:
        group: The group's number.
        given: Its mistakes.
        already: Those of them that are right already, with the cures before.
        status: In words.
        reason: Why.
        patch: The file; empty where none was kept.
    """

    group: int
    given: int
    already: int
    status: str
    reason: str
    patch: str


@dataclass(frozen=True)
class GroupCard:
    """A group of mistakes that belong together.

    Attributes:
        number: As in the data, from 0.
        size: Mistakes.
        similarity: Mean cosine between two of them.
        confidence: Mean confidence of the model in what it took them for.
        pair_keys: Which classes are confused, all of them, see :func:`pair_key`.
        pairs: Which classes are confused, and how often; the first ones.
        other_pairs: How many more pairs there are.
        filters: The guiltiest.
        usual: Coherence and excess of the filter in the middle.
        tiles: The most typical mistakes.
        cure: What came of its cure, where one was looked for.
    """

    number: int
    size: int
    similarity: float
    confidence: float
    pair_keys: Sequence[str]
    pairs: Sequence[tuple[str, str, int]]
    other_pairs: int
    filters: Sequence[FilterLine]
    usual: tuple[float, float]
    tiles: Sequence[Tile]
    cure: CureLine | None = None


def shown_groups(triage: Triage) -> range:
    """Numbers of the groups that have a card: the largest."""
    return range(min(triage.group_count, _GROUPS))


def ungrouped(triage: Triage) -> list[int]:
    """Mistakes in no group, the most confident first."""
    numbers = (triage.groups < 0).nonzero()[:, 0]
    order = triage.confidence[numbers].argsort(descending=True, stable=True)
    return [int(number) for number in numbers[order].tolist()]


def shown_ungrouped(triage: Triage) -> list[int]:
    """Those of them that the page shows."""
    return ungrouped(triage)[:_UNGROUPED]


def pictured(triage: Triage) -> list[int]:
    """Numbers of the mistakes that the page shows."""
    typical = [number for group in shown_groups(triage) for number in triage.members(group)[:_EXAMPLES].tolist()]
    similar = [] if triage.neighbors is None else triage.neighbors[most_confident(triage)].flatten().tolist()
    return list(dict.fromkeys([*typical, *shown_ungrouped(triage), *most_confident(triage), *similar]))


def most_confident(triage: Triage) -> list[int]:
    """Numbers of the mistakes that are shown with their neighbours."""
    order: list[int] = triage.confidence.argsort(descending=True, stable=True)[:SHOWN].tolist()
    return order


def group_cards(report: TriageData) -> list[GroupCard]:
    """The largest groups."""
    lines = cure_lines(report)
    return [_card(report, number, lines[number] if lines else None) for number in shown_groups(report.triage)]


def cure_lines(report: TriageData) -> list[CureLine]:
    """One for each group; none where no cure was looked for."""
    rows = [] if report.cures is None else report.cures.to_table()
    return [
        CureLine(
            row["group"],
            row["given"],
            row["already right"],
            "cured and kept" if row["status"] == "kept" else row["status"],
            row["reason"],
            PATCH_FILE.format(row["group"]) if row["status"] == "kept" else "",
        )
        for row in rows
    ]


def _card(report: TriageData, number: int, cure: CureLine | None) -> GroupCard:
    triage = report.triage
    members = triage.members(number)
    pairs = report.pairs_among(members.tolist())
    return GroupCard(
        number=number,
        size=len(members),
        similarity=float(triage.similarity[members].mean()),
        confidence=float(triage.confidence[members].mean()),
        pair_keys=[pair_key(*pair) for pair in dict.fromkeys(class_pairs(triage, members.tolist()))],
        pairs=pairs[:_PAIRS],
        other_pairs=max(0, len(pairs) - _PAIRS),
        filters=filter_lines(triage, number, _FILTERS),
        usual=typical(triage, number),
        tiles=mistake_tiles(report, members[:_EXAMPLES].tolist()),
        cure=cure,
    )


def class_pairs(triage: Triage, numbers: Sequence[int]) -> list[tuple[int, int]]:
    """True and predicted class of some mistakes."""
    return list(zip(triage.labels[list(numbers)].tolist(), triage.predicted[list(numbers)].tolist(), strict=True))


def filter_lines(triage: Triage, group: int | None, count: int) -> list[FilterLine]:
    """The guiltiest filters of a group, or of all mistakes; none where no gradients agree."""
    ranked = [guilty for guilty in triage.guilty(group, count) if guilty.score > 0]
    return [
        FilterLine(guilty, round(100 * guilty.score / ranked[0].score, 1), wanted_change(guilty)) for guilty in ranked
    ]


def typical(triage: Triage, group: int | None) -> tuple[float, float]:
    """Coherence and excess of the filter in the middle, of a group or of all mistakes."""
    row = 0 if group is None else group + 1
    return _median(triage.coherence[row]), _median(triage.excess[row])


def mistake_tiles(report: TriageData, numbers: Sequence[int]) -> list[Tile]:
    """Mistakes by number, with their pictures."""
    triage = report.triage
    return [
        Tile(
            number=number,
            file=report.items[number].name,
            label=report.class_name(int(triage.labels[number])),
            predicted=report.class_name(int(triage.predicted[number])),
            confidence=float(triage.confidence[number]),
            similarity=float(triage.similarity[number]) if int(triage.groups[number]) >= 0 else None,
        )
        for number in numbers
    ]


def near_rows(report: TriageData) -> NearRows:
    """The most confident mistakes beside the most similar ones; none without any, or without their pictures."""
    triage = report.triage

    def tile(number: int, similarity: float | None) -> NearTile:
        label, predicted = (report.class_name(int(classes[number])) for classes in (triage.labels, triage.predicted))
        return NearTile(number, label, predicted, similarity, "", report.items[number].name)

    rows = []
    for number in most_confident(triage):
        others = report.neighbors_of(number)
        if others and {number, *(other for other, _ in others)} <= report.pictures.keys():
            rows.append([tile(number, None), *(tile(other, similarity) for other, similarity in others)])
    return rows


def _median(values: Tensor) -> float:
    return float(median(values))
