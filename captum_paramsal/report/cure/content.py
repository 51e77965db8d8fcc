"""What ``cure.json`` and ``cure.csv`` say."""

from __future__ import annotations

from typing import Annotated, Literal

from typing_extensions import TypedDict

from captum_paramsal.files.contents import CureContent
from captum_paramsal.files.json_schema import INLINE
from captum_paramsal.report.cure.data import JudgedImage
from captum_paramsal.report.shared.content import ReferenceOrigin, ReportContent, SummaryContent


class CureSummary(SummaryContent):
    """The figures that come first.

    Attributes:
        candidates: Images that there are to choose from.
        status: Whether the cure is kept.
        reason: Why, in a sentence.
        judging_mistakes: Mistakes that judged.
        cured: How many of them were cured.
        cured_interval: 95 % interval of their share.
        judging_right_images: Right images that judged.
        broken: How many of them were broken.
        broken_interval: 95 % interval of their share.
        p_value: Of McNemar's exact test, two-sided.
    """

    candidates: int
    status: Literal["kept", "refused", "too few"]
    reason: str
    judging_mistakes: int
    cured: int
    cured_interval: tuple[float, float]
    judging_right_images: int
    broken: int
    broken_interval: tuple[float, float]
    p_value: float


class ChosenContent(TypedDict):
    """Which mistakes were to be cured.

    Attributes:
        which: In words.
        mistakes: How many.
    """

    which: str
    mistakes: int


class KeepContent(TypedDict):
    """Which images must stay right.

    Attributes:
        own_images: Whether they are images of their own.
        images: How many.
    """

    own_images: bool
    images: int


class CureReportContent(ReportContent):
    """A cure of few filters, kept or refused.

    Attributes:
        summary: The figures that come first.
        chosen: Which mistakes were to be cured.
        keep: Which images must stay right.
        reference: What filters usually do.
        cure: What came of it.
        judged: The images that judged.
    """

    summary: CureSummary
    chosen: ChosenContent
    keep: KeepContent
    reference: ReferenceOrigin
    cure: CureContent
    judged: list[JudgedImage]


class JudgedRow(TypedDict):
    """An image that judged a cure.

    Attributes:
        outcome: What came of it.
    """

    judged: Annotated[JudgedImage, INLINE]
    outcome: Literal["cured", "not cured", "broken", "still right", "not judged"]
