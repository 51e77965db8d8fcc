"""The mistakes that look like wrong labels, as the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from captum_paramsal.report.triage.data import TriageData
from captum_paramsal.report.triage.label_doubts import LabelDoubts, MistakeDoubt

_SHOWN = 18


@dataclass(frozen=True)
class DoubtTile:
    """A mistake, by its number, with its label, the class that is suggested in its place, and what speaks for that."""

    number: int
    file: str
    label: str
    suggested: str
    doubt: MistakeDoubt


def pictured_doubts(doubts: LabelDoubts) -> list[int]:
    """Numbers of the mistakes that are shown, the most doubtful first."""
    return doubts.likely_wrong[:_SHOWN]


def doubt_tiles(report: TriageData) -> Sequence[DoubtTile]:
    """The mistakes that look most like wrong labels."""
    doubts, labels = report.doubts, report.triage.labels
    return [
        DoubtTile(
            number,
            report.items[number].name,
            report.class_name(int(labels[number])),
            report.class_name(doubts.of_mistakes[number].suggested),
            doubts.of_mistakes[number],
        )
        for number in pictured_doubts(doubts)
    ]
