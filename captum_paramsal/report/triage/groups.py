"""What the page says of a set of mistakes: its pairs of classes, its filters, its examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from captum_paramsal.sources import Picture
from captum_paramsal.triage import GuiltyFilter, Triage

if TYPE_CHECKING:
    from captum_paramsal.report.triage.report import TriageReport

_GROUPS = 12
_EXAMPLES = 6
_ALONE = 12
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
    """A mistake in a grid of pictures."""

    file: str
    label: str
    predicted: str
    confidence: float
    picture: Picture | None


@dataclass(frozen=True)
class GroupCard:
    """A group of mistakes that belong together.

    Attributes:
        number: As in the data, from 0.
        size: Mistakes.
        likeness: Mean cosine between two of them.
        pairs: Which classes are confused, and how often; the first ones.
        other_pairs: How many more pairs there are.
        filters: The guiltiest.
        usual: Coherence and excess of the filter in the middle.
        tiles: The most typical mistakes.
    """

    number: int
    size: int
    likeness: float
    pairs: Sequence[tuple[str, str, int]]
    other_pairs: int
    filters: Sequence[FilterLine]
    usual: tuple[float, float]
    tiles: Sequence[Tile]


def shown_groups(found: Triage) -> range:
    """Numbers of the groups that have a card: the largest."""
    return range(min(found.group_count, _GROUPS))


def alone(found: Triage) -> list[int]:
    """Mistakes in no group, the surest first."""
    own = (found.groups < 0).nonzero()[:, 0]
    return [int(number) for number in own[found.confidence[own].argsort(descending=True, stable=True)].tolist()]


def pictured(found: Triage) -> list[int]:
    """Numbers of the mistakes that the page shows."""
    typical = [number for group in shown_groups(found) for number in found.members(group)[:_EXAMPLES].tolist()]
    return [*typical, *alone(found)[:_ALONE]]


def group_cards(one: TriageReport) -> list[GroupCard]:
    """The largest groups."""
    return [_card(one, number) for number in shown_groups(one.triage)]


def _card(one: TriageReport, number: int) -> GroupCard:
    found = one.triage
    members = found.members(number)
    pairs = one.pairs_among(members.tolist())
    return GroupCard(
        number=number,
        size=len(members),
        likeness=float(found.likeness[members].mean()),
        pairs=pairs[:_PAIRS],
        other_pairs=max(0, len(pairs) - _PAIRS),
        filters=filter_lines(found, number, _FILTERS),
        usual=typical(found, number),
        tiles=mistake_tiles(one, members[:_EXAMPLES].tolist()),
    )


def filter_lines(found: Triage, group: int | None, count: int) -> list[FilterLine]:
    """The guiltiest filters of a group, or of all mistakes; none where no gradients agree."""
    guilty = [one for one in found.guilty(group, count) if one.score > 0]
    return [FilterLine(one, round(100 * one.score / guilty[0].score, 1), wanted_change(one)) for one in guilty]


def typical(found: Triage, group: int | None) -> tuple[float, float]:
    """Coherence and excess of the filter in the middle, of a group or of all mistakes."""
    row = 0 if group is None else group + 1
    return _median(found.coherence[row]), _median(found.excess[row])


def wanted_change(one: GuiltyFilter) -> str:
    """What would lower the loss of the mistakes."""
    return "weaker" if one.pull > 0 else "stronger" if one.pull < 0 else "neither"


def mistake_tiles(one: TriageReport, numbers: Sequence[int]) -> list[Tile]:
    """Mistakes by number, with their pictures."""
    found = one.triage
    return [
        Tile(
            file=one.items[number].name,
            label=one.class_name(int(found.labels[number])),
            predicted=one.class_name(int(found.predicted[number])),
            confidence=float(found.confidence[number]),
            picture=one.pictures.get(number),
        )
        for number in numbers
    ]


def _median(values: Tensor) -> float:
    return float(values.median())
