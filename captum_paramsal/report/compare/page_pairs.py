"""Which method is the best by a measure, and which ones the same images do not tell from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from captum_paramsal.comparison import PairedDifference
from captum_paramsal.comparison.ranks import can_be_best
from captum_paramsal.metrics import Column
from captum_paramsal.report.compare.data import ComparisonData
from captum_paramsal.report.compare.page_words import number_words, p_words

_LEVEL = 0.05
_CLOSE = 6


@dataclass(frozen=True)
class PairRow:
    """How far the best method is from another one on the same images, in words.

    Attributes:
        other: Name of the other.
        baseline: Whether it is no method.
        difference: Mean of the best one's score less the other's.
        interval: Of this mean; empty for a single image.
        p_value: After the correction for all pairs.
        images: That both have a score for.
        apart: Whether chance hardly makes such a difference.
    """

    other: str
    baseline: bool
    difference: str
    interval: str
    p_value: str
    images: int
    apart: bool


def best_mean(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """The best mean of a column's rows, see ``Comparison.table``; None where there is nothing to choose.

    Methods that do not look at the model, or have a score for fewer images than others, do not compete.
    """
    means = [row["mean"] for row in rows if competes(row, rows)]
    if len(means) < 2 or not rows[0]["better"]:
        return None
    return float(max(means) if rows[0]["better"] == "higher" else min(means))


def best_method(report: ComparisonData, place: int) -> str:
    """The method with the best mean over all images; empty where there is nothing to choose."""
    comparison = report.comparison
    width, methods = len(comparison.columns), len(comparison.agreement)
    rows = report.tables["all"][place : methods * width : width]
    best = best_mean(rows)
    return next((row["method"] for row in rows if row["mean"] == best and competes(row, rows)), "")


def competes(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a method's mean can be the best of a column's rows."""
    most = max(other["images"] for other in rows)
    return isfinite(row["mean"]) and can_be_best(row["method"], row["images"], most)


def verdict(report: ComparisonData, note: Column, best: str) -> str:
    """What can be said of the best method, in a sentence or two."""
    words = f"Over all images, {best} has the best mean."
    others = {_other(pair, best): pair.adjusted for pair in _pairs_of(report, note, best)}
    if not others:
        return words
    close = [name for name, p_value in others.items() if not p_value < _LEVEL]
    if not close:
        return f"{words} It differs from every other one on the same images (Wilcoxon, Holm, p < {_LEVEL})."
    named = ", ".join(close[:_CLOSE]) + (f" and {len(close) - _CLOSE} more" if len(close) > _CLOSE else "")
    return f"{words} These images do not tell it apart from {named} (Wilcoxon, Holm, p ≥ {_LEVEL} or too few images)."


def pair_rows(report: ComparisonData, note: Column, best: str) -> list[PairRow]:
    """The best method against every other one, and every baseline, on the same images."""
    methods = report.comparison.methods[: len(report.comparison.agreement)]
    return [_row(pair, best, methods) for pair in _pairs_of(report, note, best)]


def _pairs_of(report: ComparisonData, note: Column, best: str) -> list[PairedDifference]:
    return [pair for pair in report.pairs.get(note.name, ()) if best in (pair.first, pair.second)]


def _other(pair: PairedDifference, best: str) -> str:
    return pair.second if pair.first == best else pair.first


def _row(pair: PairedDifference, best: str, methods: Sequence[str]) -> PairRow:
    other = _other(pair, best)
    mean, (low, high) = pair.mean, pair.interval
    if pair.first != best:
        mean, low, high = -mean, -high, -low
    return PairRow(
        other=other,
        baseline=other not in methods,
        difference=number_words(mean),
        interval=f"{number_words(low)} to {number_words(high)}" if isfinite(low) else "",
        p_value=p_words(pair.adjusted),
        images=pair.images,
        apart=pair.adjusted < _LEVEL,
    )
