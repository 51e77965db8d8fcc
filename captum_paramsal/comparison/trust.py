"""Which method to trust, in words: who is ahead, what beats no control, which measures disagree, what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from typing import Any, TypeVar

from torch import Tensor

from captum_paramsal.comparison.cost import COST, SECONDS
from captum_paramsal.comparison.ranks import (
    BLIND,
    FEWEST_IMAGES,
    MeasureAgreement,
    MeasureRanks,
    measure_agreement,
    ranked_measure,
)
from captum_paramsal.metrics import Column

_Said = TypeVar("_Said")

_NAMED = 6
"""Methods that a sentence names, at most."""
_PAIRS = 3
"""Pairs of measures that are named, at most."""


@dataclass(frozen=True)
class TrustSummary:
    """What a comparison lets one say of its methods, and what it does not.

    A method is ahead only where the interval of its rank overlaps no other's. Intervals are those of single ranks at
    95 %, not corrected for how many there are.

    Attributes:
        ranks: By measure, for those that have a better end, the costs left out.
        unranked: Measures with a better end that fewer than two methods, or fewer than six images, have a score by.
        agreements: Every two measures that rank at least three methods both.
        seconds: What a map costs, by method that looks at the model.
    """

    ranks: tuple[MeasureRanks, ...]
    unranked: tuple[str, ...]
    agreements: tuple[MeasureAgreement, ...]
    seconds: Mapping[str, float]

    @classmethod
    def of(
        cls, columns: Sequence[Column], names: Sequence[str], scores: Tensor, explained: int, seed: int = 0
    ) -> TrustSummary:
        """From the scores of a comparison.

        Args:
            columns: What is measured, C.
            names: Of methods and, after these, of baselines, M.
            scores: ``(M, C, N)``; NaN where there is none.
            explained: How many of the M are methods.
            seed: Fixes the resampling.
        """
        costs = {column.name for column in COST}
        judged = [place for place, column in enumerate(columns) if column.better and column.name not in costs]
        known = {
            columns[place].name: ranked_measure(columns[place], names, scores[:, place], explained, seed)
            for place in judged
        }
        ranked = [one for one in known.values() if one is not None]
        pairs = (measure_agreement(one, other) for one, other in combinations(ranked, 2))
        paid = [place for place, column in enumerate(columns) if column.name == SECONDS.name]
        seconds = scores[:explained, paid].nanmean(dim=(1, 2)).tolist()
        return cls(
            tuple(one.ranks for one in ranked),
            tuple(name for name, one in known.items() if one is None),
            tuple(pair for pair in pairs if pair is not None),
            {name: value for name, value in zip(names, seconds, strict=False) if isfinite(value) and name not in BLIND},
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """The same in words, the most important first; nothing is claimed where intervals overlap."""
        return (*self._on_ranks(), *self._on_controls(), *self._on_measures(), *self._on_costs(), *self._on_the_rest())

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def to_table(self) -> list[dict[str, Any]]:
        """One row per measure and method: rank, its interval, whether it may be the best, and unbeaten controls."""
        return [
            {
                "metric": ranks.measure,
                "method": one.method,
                "rank": one.rank,
                "low": one.low,
                "high": one.high,
                "images": ranks.images,
                "top": one.method in ranks.top,
                "unbeaten_controls": list(one.unbeaten),
            }
            for ranks in self.ranks
            for one in ranks.methods
        ]

    def _on_ranks(self) -> Iterator[str]:
        if not self.ranks:
            yield f"No measure has ranks: that takes two methods with a score for the same {FEWEST_IMAGES} images."
            return
        alone: dict[str, list[str]] = {}
        for ranks in self.ranks:
            if len(ranks.top) == 1:
                alone.setdefault(ranks.top[0], []).append(ranks.measure)
        if alone:
            ahead = "; ".join(f"{method} by {_listed(measures)}" for method, measures in alone.items())
            yield f"Ahead of every other method: {ahead}."
        else:
            yield "No method is ahead of all others by any measure: the intervals of their ranks overlap."
        for (top, every), measures in _grouped(
            self.ranks, lambda ranks: (tuple(sorted(ranks.top)), len(ranks.methods))
        ):
            if len(top) == every:
                yield f"By {_listed(measures)} any of the methods may be the best."
            elif len(top) > 1:
                yield f"By {_listed(measures)} the best is one of {_named(top)}; their intervals overlap."
        counts = {one.method: 0 for ranks in self.ranks for one in ranks.methods}
        for ranks in self.ranks:
            for method in ranks.top:
                counts[method] += 1
        often = sorted((method for method, count in counts.items() if count), key=lambda name: -counts[name])
        first = f"{often[0]} by {counts[often[0]]} of {len(self.ranks)} measure{'s' * (len(self.ranks) > 1)}"
        rest = [f"{method} by {counts[method]}" for method in often[1:_NAMED]]
        yield f"The best, or not told apart from it: {', '.join([first, *rest])}. This is a count, not a test."

    def _on_controls(self) -> Iterator[str]:
        for (worse, every, controls), measures in _grouped(self.ranks, _unbeaten):
            if len(worse) == every:
                yield f"By {_listed(measures)} no method is better than every control ({', '.join(controls)})."
            elif worse:
                yield f"By {_listed(measures)} not better than every control ({', '.join(controls)}): {_named(worse)}."
        if self.ranks and not any(ranks.controls for ranks in self.ranks):
            yield "Nothing in the table looks at no model: add the method random, for what a map gets by chance."

    def _on_measures(self) -> Iterator[str]:
        against = sorted((pair for pair in self.agreements if pair.high < 0), key=lambda pair: pair.correlation)
        for pair in against[:_PAIRS]:
            words = f"rank correlation {_number(pair.correlation)}, {_number(pair.low)} to {_number(pair.high)}"
            yield f"{pair.first} and {pair.second} disagree: what is good by one is bad by the other ({words})."
        if len(against) > _PAIRS:
            yield f"So do {len(against) - _PAIRS} more pairs of measures."
        if self.agreements and not against:
            yield "No two measures rank the methods the opposite way beyond chance."
        unrelated = sum(pair.low <= 0 <= pair.high for pair in self.agreements)
        if unrelated:
            yield (
                f"Of {len(self.agreements)} pairs of measures {unrelated} have a rank correlation whose interval has 0 "
                "in it: whether they agree is open."
            )

    def _on_costs(self) -> Iterator[str]:
        if len(self.seconds) > 1:
            order = sorted(self.seconds, key=self.seconds.__getitem__)
            cheap, dear = order[0], order[-1]
            yield (
                f"A map costs from {self.seconds[cheap]:.2g} s ({cheap}) to {self.seconds[dear]:.2g} s ({dear}) "
                "on this machine."
            )

    def _on_the_rest(self) -> Iterator[str]:
        if self.ranks and self.unranked:
            yield f"Too few images or methods for ranks by {_listed(self.unranked)}."


def _unbeaten(ranks: MeasureRanks) -> tuple[tuple[str, ...], int, tuple[str, ...]]:
    """Methods that some control is as good as, how many methods there are, and these controls."""
    worse = [one for one in ranks.methods if one.unbeaten]
    controls = tuple(name for name in ranks.controls if any(name in one.unbeaten for one in worse))
    return tuple(sorted(one.method for one in worse)), len(ranks.methods), controls


def _grouped(
    every: Sequence[MeasureRanks], about: Callable[[MeasureRanks], _Said]
) -> Iterator[tuple[_Said, list[str]]]:
    """What is said of measures, each once, with the measures that it is said of."""
    groups: dict[_Said, list[str]] = {}
    for ranks in every:
        groups.setdefault(about(ranks), []).append(ranks.measure)
    yield from groups.items()


def _named(methods: Sequence[str]) -> str:
    more = len(methods) - _NAMED
    return _listed(methods) if more <= 0 else f"{', '.join(methods[:_NAMED])} and {more} more"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
