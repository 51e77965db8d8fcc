"""Geometry of the small profile plots; the template turns it into SVG and HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional.tails import ZERO_PROBABILITY
from captum_paramsal.report.explain.data import Mistake

_WIDTH, _HEIGHT = 1000, 400
"""Units of the drawing: whole numbers are finer than the pixels of any screen that it is seen on."""
_LINE = 1.0
"""How far from a straight line a point may be, in units, to be left out."""
_FEWEST_BANDS, _MOST_BANDS = 3, 16
_LETTERS = 60
"""That fit side by side under a plot."""


@dataclass(frozen=True)
class Band:
    """Neighbouring layers that share the beginning of their names.

    Attributes:
        name: The shared beginning, without what all layers of the model share.
        label: The name, or nothing where it would not fit under the band.
        start: Left end, in units of the drawing.
        width: In units of the drawing.
        share: Width in percent of the whole.
    """

    name: str
    label: str
    start: float
    width: float
    share: float


@dataclass(frozen=True)
class Tick:
    """A labelled height.

    Attributes:
        label: The score.
        top: Distance from the top, in percent.
    """

    label: str
    top: float


@dataclass(frozen=True)
class ProfileDrawing:
    """One profile, in units of 1000 x 400.

    Attributes:
        line: Path of the curve, layer by layer from zero up to it and down to zero again; inside of it is the surface.
        marks: Path of the guilty filters' places: one point each.
        zero: Height of the score 0.
        limit: Height of the score from which on a filter is unusual.
        ticks: Labelled heights.
    """

    line: str
    marks: str
    zero: float
    limit: float
    ticks: tuple[Tick, ...]


def layer_bands(filters: FilterIndex) -> tuple[str, tuple[Band, ...]]:
    """The layers in a few groups by name, as many as can be labelled.

    Returns:
        What all names have in common, and the groups from left to right.

    >>> names = ["net.conv1", "net.block1.a", "net.block1.b", "net.block2.a"]
    >>> common, bands = layer_bands(FilterIndex(dict.fromkeys(names, 8)))
    >>> common, [band.name for band in bands]
    ('net.', ['conv1', 'block1', 'block2'])
    """
    split = [name.split(".") for name in filters.layers]
    shared = 0
    while all(len(parts) > shared + 1 for parts in split) and len({tuple(p[: shared + 1]) for p in split}) == 1:
        shared += 1
    groups = _grouped(split, shared, shared + 1)
    for depth in range(shared + 2, max(map(len, split)) + 1):
        finer = _grouped(split, shared, depth)
        if len(groups) >= _FEWEST_BANDS or len(finer) > _MOST_BANDS:
            break
        groups = finer
    bands, start = [], 0.0
    for name, size in groups:
        share = size / len(split)
        label = name if len(name) <= _LETTERS * share else ""
        bands.append(Band(name, label, round(start, 2), round(_WIDTH * share, 2), round(100 * share, 3)))
        start += _WIDTH * share
    return "".join(f"{part}." for part in split[0][:shared]), tuple(bands)


def draw_profile(mistake: Mistake, places: Sequence[float], filters: FilterIndex, limit: float) -> ProfileDrawing:
    """Lay out the profile of a mistake with the filters that are named for it.

    Args:
        mistake: With its curve.
        places: Where the points of the curve lie.
        filters: Those that the curve is of.
        limit: Score from which on a filter is unusual.
    """
    count = len(filters.layers)
    # A score beyond the end of its tail stands for a probability of 0, at the upper edge whatever its number.
    drawn = [score for score in mistake.curve if score < ZERO_PROBABILITY]
    low, high = min([0.0, *drawn]), max([limit, *drawn])
    if high <= low:
        # Images whose profiles are all the same have scores of 0 alone, and their limit may be 0 too.
        high = low + 1.0
    steps = _ticks(low, high)
    high *= 1.04

    def x_of(place: float) -> float:
        return place * _WIDTH / count

    def y_of(score: float) -> float:
        return _HEIGHT * (high - min(score, high)) / (high - low)

    lines = []
    for _, points in groupby(zip(places, mistake.curve, strict=True), key=lambda point: int(point[0])):
        spots = [(round(x_of(place)), round(y_of(score))) for place, score in points]
        lines.append(_outlined(_sparse(spots), round(y_of(0))))
    return ProfileDrawing(
        line="".join(lines),
        marks="".join(f"M{x_of(place):.1f} {y_of(score):.1f}h0" for place, score in _marks(mistake, filters)),
        zero=round(y_of(0), 1),
        limit=round(y_of(limit), 1),
        ticks=tuple(Tick(f"{step:g}", round(100 * (high - step) / (high - low), 2)) for step in steps),
    )


def _sparse(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The points of a curve without those that lie on a straight line between others, both ends kept."""
    (left, top), (right, bottom) = points[0], points[-1]
    across, down = right - left, bottom - top
    length = math.hypot(across, down) or 1.0

    def off(point: tuple[int, int]) -> float:
        return abs(across * (point[1] - top) - down * (point[0] - left)) / length

    if len(points) < 3:
        return list(points)
    farthest = max(range(1, len(points) - 1), key=lambda place: off(points[place]))
    if off(points[farthest]) <= _LINE:
        return [points[0], points[-1]]
    return [*_sparse(points[: farthest + 1])[:-1], *_sparse(points[farthest:])]


def _outlined(points: Sequence[tuple[int, int]], zero: int) -> str:
    """SVG path from zero along the points and back to zero."""
    steps = [f"{x - u} {y - v}" for (u, v), (x, y) in pairwise(points)]
    return f"M{points[0][0]} {zero}V{points[0][1]}" + (f"l{' '.join(steps)}" if steps else "") + f"V{zero}"


def _marks(mistake: Mistake, filters: FilterIndex) -> Iterator[tuple[float, float]]:
    # Every higher filter of its layer is named too, so a filter's rank in its layer is its rank among the named.
    ranks: dict[str, int] = {}
    for ranked in mistake.filters:
        layer = ranked.filter.layer
        rank = ranks.setdefault(layer, 0)
        ranks[layer] += 1
        # Where images leave fewer filters with a score than are named, the others have no place on the curve.
        if rank >= filters.counts[layer]:
            continue
        yield filters.layers.index(layer) + (rank + 0.5) / filters.counts[layer], ranked.score


def _grouped(split: Sequence[Sequence[str]], shared: int, depth: int) -> list[tuple[str, int]]:
    keys = (".".join(parts[shared:depth]) for parts in split)
    return [(key, len(list(same))) for key, same in groupby(keys)]


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low or 1.0) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
