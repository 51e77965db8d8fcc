"""The figures of a triage, as files and for its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from markupsafe import Markup
from torch import Tensor

from captum_paramsal.report.triage.groups import shown_groups
from captum_paramsal.triage import Triage
from captum_paramsal.viz import confused_classes, confusion_plot, to_png, to_svg, triage_plot

if TYPE_CHECKING:
    from captum_paramsal.report.triage.report import TriageReport

_CLASSES = 12
_FILTERS = 3


def figures(one: TriageReport) -> dict[str, bytes]:
    """The PNG files beside the page, by name."""
    counts, classes = _counts(one.triage), drawn_classes(one.triage)
    return {
        "confusion.png": to_png(confusion_plot(counts, names=one.classes, classes=classes)),
        "filters.png": to_png(triage_plot(_scores(one.triage), one.triage.filters, k=_FILTERS)),
    }


def drawn_classes(found: Triage) -> Sequence[int]:
    """The classes that the confusion matrix shows."""
    classes: list[int] = confused_classes(_counts(found), _CLASSES).tolist()
    return classes


def confusion_drawing(one: TriageReport) -> Markup:
    """The confusion matrix of the most confused classes, as an ``<svg>``."""
    counts, classes = _counts(one.triage), drawn_classes(one.triage)
    pairs = one.pairs_among(range(len(one.triage)))
    often = "; ".join(f"{label} taken for {other}, {count} times" for label, other, count in pairs[:3])
    words = (
        f"Confusion matrix of {len(classes)} classes: true class from top to bottom, predicted class across. {often}."
    )
    return _drawn(to_svg(confusion_plot(counts, names=one.classes, classes=classes), words, prefix="confusion-"))


def filter_drawing(one: TriageReport) -> Markup:
    """The filters of all mistakes and of the shown groups, as an ``<svg>``."""
    found = one.triage
    best = [f"group {number}: {found.guilty(number, 1)[0].filter}" for number in shown_groups(found)]
    words = f"Heat map of filters by sets of mistakes. Highest score of all mistakes: {found.guilty(None, 1)[0].filter}"
    axes = triage_plot(_scores(found), found.filters, k=_FILTERS)
    return _drawn(to_svg(axes, "; of ".join([words, *best]) + ".", prefix="filters-"))


def _scores(found: Triage) -> Tensor:
    return found.saliency.score[: 1 + len(shown_groups(found))]


def _counts(found: Triage) -> Tensor:
    """Images by true class and predicted class, ``(C, C)``."""
    known = len(found.class_counts)
    classes = max(known, int(found.predicted.max()) + 1)
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    counts.index_put_((found.labels, found.predicted), torch.tensor(1), accumulate=True)
    right = found.class_counts - counts.sum(dim=1)[:known]
    counts[range(known), range(known)] = right
    return counts


def _drawn(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704 -- drawn by matplotlib, which escapes its texts
