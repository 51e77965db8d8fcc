"""The figures of a triage, as files and for its page."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from markupsafe import Markup
from torch import Tensor

from captum_paramsal.report.triage.data import TriageData
from captum_paramsal.report.triage.page_groups import shown_groups
from captum_paramsal.triage import Triage
from captum_paramsal.viz import confused_classes, confusion_plot, to_png, to_svg, triage_plot

_CLASSES = 12
_FILTERS = 3


def triage_figures(report: TriageData) -> dict[str, bytes]:
    """The PNG files beside the page, by name."""
    counts, classes = _counts(report.triage), drawn_classes(report.triage)
    return {
        "confusion.png": to_png(confusion_plot(counts, names=report.classes, classes=classes)),
        "filters.png": to_png(triage_plot(_scores(report.triage), report.triage.filters, k=_FILTERS)),
    }


def drawn_classes(triage: Triage) -> Sequence[int]:
    """The classes that the confusion matrix shows."""
    classes: list[int] = confused_classes(_counts(triage), _CLASSES).tolist()
    return classes


def confusion_drawing(report: TriageData) -> Markup:
    """The confusion matrix of the most confused classes, as an ``<svg>``."""
    counts, classes = _counts(report.triage), drawn_classes(report.triage)
    pairs = report.pairs_among(range(len(report.triage)))
    often = "; ".join(f"{label} taken for {other}, {count} times" for label, other, count in pairs[:3])
    words = (
        f"Confusion matrix of {len(classes)} classes: true class from top to bottom, predicted class across. {often}."
    )
    return _drawn(to_svg(confusion_plot(counts, names=report.classes, classes=classes), words, prefix="confusion-"))


def filter_drawing(report: TriageData) -> Markup:
    """The filters of all mistakes and of the shown groups, as an ``<svg>``."""
    triage = report.triage
    best = [f"group {number}: {triage.guilty(number, 1)[0].filter}" for number in shown_groups(triage)]
    words = (
        f"Heat map of filters by sets of mistakes. Highest score of all mistakes: {triage.guilty(None, 1)[0].filter}"
    )
    axes = triage_plot(_scores(triage), triage.filters, k=_FILTERS)
    return _drawn(to_svg(axes, "; of ".join([words, *best]) + ".", prefix="filters-"))


def _scores(triage: Triage) -> Tensor:
    return triage.saliency.score[: 1 + len(shown_groups(triage))]


def _counts(triage: Triage) -> Tensor:
    """Images by true class and predicted class, ``(C, C)``."""
    known = len(triage.class_counts)
    classes = max(known, int(triage.predicted.max()) + 1)
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    counts.index_put_((triage.labels, triage.predicted), torch.tensor(1), accumulate=True)
    right = triage.class_counts - counts.sum(dim=1)[:known]
    counts[range(known), range(known)] = right
    return counts


def _drawn(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704 -- drawn by matplotlib, which escapes its texts
