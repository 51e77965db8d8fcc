"""POT saliency from the whole matrix of profiles, a filter at a time (Wang and Sato, arXiv 2310.17951).

The oracle of ``UpperTail``, ``FilterTails`` and ``POTSaliency``, written without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from oracles.generalized_pareto import Fit, best_fit, exponential, log_survival

MINIMUM_EXCESSES = 20


class Tail(NamedTuple):
    """One filter's tail: its threshold, the share of images strictly above it, and a distribution of the excesses.

    ``fit`` is ``None`` for a filter that nothing exceeds.
    """

    threshold: float
    excesses: list[float]
    rate: float
    fit: Fit | None


def kept(fraction: float, count: int) -> int:
    """The smallest whole number that is at least ``fraction * count``; the fraction as it is written."""
    return math.ceil(Fraction(str(fraction)) * count)


def threshold(column: Sequence[float], fraction: float) -> float:
    """The value at ``int(level * N)`` of the sorted column, counted from 0, for level = 1 - fraction."""
    level = 1 - Fraction(str(fraction))
    return sorted(float(s) for s in column)[int(level * len(column))]


def excesses(column: Sequence[float], above: float) -> list[float]:
    """How far the values strictly above lie above, largest first."""
    return sorted((float(s) - above for s in column if float(s) > above), reverse=True)


def fit_tail(column: Sequence[float], fraction: float, fit: Callable[[np.ndarray], Fit] = best_fit) -> Tail:
    """A tail by maximum likelihood or as an exponential; exponential where fewer than twenty values are above."""
    t = threshold(column, fraction)
    y = excesses(column, t)
    if not y:
        return Tail(t, y, 0.0, None)
    chosen = fit if len(y) >= MINIMUM_EXCESSES else exponential
    return Tail(t, y, len(y) / len(column), chosen(np.array(y)))


def log_p(s: float, tail: Tail) -> float:
    """Log of P(S > s), 0 at or below the threshold and minus infinity beyond the end; 0 for a dead filter."""
    if tail.fit is None or s <= tail.threshold:
        return 0.0
    return math.log(tail.rate) + log_survival(s - tail.threshold, tail.fit.shape, scale_of(tail))


def scale_of(tail: Tail) -> float:
    """Scale of a tail; of a uniform one so that the largest of n excesses, k times, has the probability k / (n + 1)."""
    if tail.fit.shape > -1 + 1e-9:
        return tail.fit.scale
    n, largest = len(tail.excesses), max(tail.excesses)
    times = sum(excess == largest for excess in tail.excesses)
    return largest * (n + 1) / (n + 1 - times)


def ranking(profile: Sequence[float], tails: Sequence[Tail]) -> list[int]:
    """Filters above their threshold, the least probable first; among those of probability 0, the largest
    (s - threshold) / scale first.
    """
    above = [j for j, tail in enumerate(tails) if tail.fit is not None and float(profile[j]) > tail.threshold]

    def key(j: int) -> tuple[float, float]:
        scale = scale_of(tails[j])
        return log_p(float(profile[j]), tails[j]), -(float(profile[j]) - tails[j].threshold) / scale

    return sorted(above, key=key)


def benjamini_hochberg(p_values: Sequence[float], false_discovery_rate: float) -> list[bool]:
    """Reject the k smallest, k the largest number for which the k-th smallest is at most ``k / m`` times the rate."""
    ordered = sorted(float(p) for p in p_values)
    count = len(ordered)
    largest = 0
    for k in range(1, count + 1):
        if ordered[k - 1] <= false_discovery_rate * k / count:
            largest = k
    return [largest > 0 and float(p) <= ordered[largest - 1] for p in p_values]
