"""What the page says of the mistakes beside correctly classified images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign, inf

from captum_paramsal.doctor.findings import LEVEL
from captum_paramsal.report.doctor.data import DiagnosedGroup, DoctorData, MeanWithError

_NOTHING = "\N{EN DASH}"
_SURE = 2.0
"""Standard errors from which on a difference is not taken for chance."""


@dataclass(frozen=True)
class ComparedRow:
    """One quantity of mistakes and of correct images, and what it should be where nothing is wrong."""

    name: str
    wrong: str
    right: str
    expected: str


@dataclass(frozen=True)
class BackgroundRow:
    """The evidence outside of the object in one group of images."""

    name: str
    images: int
    background: MeanWithError
    area: MeanWithError
    excess: MeanWithError


def compared_rows(report: DoctorData) -> Sequence[ComparedRow]:
    """The quantities that are known."""
    wrong, right = report.mistake_group, report.correct_group
    kinds = [
        (f"channels at p ≤ {LEVEL:g}", wrong.unusual, right.unusual, _percent(LEVEL)),
        ("evidence in these channels", wrong.wrong_share, right.wrong_share, ""),
    ]
    rows = [
        ComparedRow(name, _share(measured), _share(other), told)
        for name, measured, other, told in kinds
        if measured.images
    ]
    if wrong.deviation is not None:
        rows.append(
            ComparedRow("distance from the row of the class", _plain(wrong.deviation), _plain(right.deviation), "0")
        )
    return rows


def compared_verdict(report: DoctorData) -> str:
    """Whether channels are evidence for the wrong class that are none in its own images."""
    apart = _apart(report.mistake_group.unusual, report.correct_group.unusual)
    if apart is None:
        return ""
    if apart >= _SURE:
        return (
            "On mistakes more channels than usual are evidence for the wrong class: some of the evidence is of a kind "
            "that images of that class do not have."
        )
    return (
        "Mistakes do not have more unusual channels than correct images: the evidence for the wrong class comes from "
        "channels that are evidence for it in its own images, too. What they answered to, and where, is the question "
        "then."
    )


def background_rows(report: DoctorData) -> Sequence[BackgroundRow]:
    """Mistakes and correct images whose object is known; nothing where there is none."""
    groups = (("mistakes", report.mistake_group), ("correct images", report.correct_group))
    return [
        BackgroundRow(name, group.background.images, group.background, group.background_area, group.excess)
        for name, group in groups
        if group.background.images
    ]


def background_verdict(report: DoctorData) -> str:
    """What the background's share of the evidence says, in one or two sentences."""
    wrong, right = report.mistake_group, report.correct_group
    if not wrong.background.images:
        return ""
    apart = _apart(wrong.excess, right.excess)
    if apart is None:
        return f"{_against_area(wrong)} There are too few images to compare that with correct ones."
    if abs(apart) < _SURE:
        return (
            f"{_against_area(wrong)} On correct images it is about the same, so the background does not explain the "
            "mistakes."
        )
    if apart > 0:
        return f"{_against_area(wrong)} On correct images it has less than here: it may have a part in the mistakes."
    return f"{_against_area(wrong)} On correct images it has more than here: it does not explain the mistakes."


def _against_area(group: DiagnosedGroup) -> str:
    excess = group.excess
    if excess.value is None or excess.error is None:
        return "There are too few mistakes to tell."
    if abs(excess.value) < _SURE * excess.error:
        return "On mistakes the background has about the share of the evidence that its area gives it."
    word = "more" if excess.value > 0 else "less"
    return f"On mistakes the background has {word} of the evidence than its area would give it."


def _apart(one: MeanWithError, other: MeanWithError) -> float | None:
    """Distance of two means in standard errors; None where they have none."""
    if one.value is None or other.value is None or one.error is None or other.error is None:
        return None
    error = (one.error**2 + other.error**2) ** 0.5
    difference = one.value - other.value
    return difference / error if error else copysign(inf, difference) if difference else 0.0


def _share(mean: MeanWithError) -> str:
    return _NOTHING if mean.value is None else _percent(mean.value)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _plain(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3f}"
