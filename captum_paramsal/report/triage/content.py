"""What ``triage.json`` and its tables say."""

from __future__ import annotations

from typing import Annotated, Literal

from typing_extensions import NotRequired, TypedDict

from captum_paramsal.files.contents import CureContent
from captum_paramsal.files.json_schema import INLINE
from captum_paramsal.report.shared.content import ReferenceOrigin, ReportContent, SummaryContent
from captum_paramsal.report.triage.label_doubts import LabelDoubts
from captum_paramsal.triage import ConfusionPair


class TriageSummary(SummaryContent):
    """The figures that come first.

    Attributes:
        candidates: Images that there are to choose from.
        filters: How many were scored.
        significant_filters: How many are more salient in mistakes than in correct images.
        compared_within: What mistakes were compared with: correct images of their "classes", or "all images".
        compared_mistakes: How many mistakes were.
        groups: Groups of mistakes.
        ungrouped: Mistakes in none.
    """

    candidates: int
    filters: int
    significant_filters: int
    compared_within: str
    compared_mistakes: int
    groups: int
    ungrouped: int


class SignificantFilter(TypedDict):
    """A filter that is more salient in mistakes.

    Attributes:
        filter: Its name.
        superiority: Chance that it is more salient in a mistake than in a right image.
        q_value: Of that, over all filters.
    """

    filter: str
    superiority: float
    q_value: float


class GuiltyContent(TypedDict):
    """A filter that stands out in a set of mistakes.

    Attributes:
        rank: From 1 on, the highest score first.
        layer: Of the filter.
        index: Of the filter in its layer.
        part: Name of the slice, where it has one.
        score: What it is ranked by.
        coherence: How much the mistakes want the same change, 1 for all.
        excess: How far above the usual its saliency is, in standard deviations.
        pull: Above 0 where the loss falls if it gets weaker.
        superiority: Chance that it is more salient in a mistake than in a right image.
        q_value: Of that, over all filters.
        wanted: What would lower the loss of the mistakes.
    """

    rank: int
    layer: str
    index: int
    part: str
    score: float
    coherence: float
    excess: float
    pull: float
    superiority: float
    q_value: float
    wanted: Literal["weaker", "stronger", "neither"]


class GroupContent(TypedDict):
    """Mistakes in which the same filters stand out.

    Attributes:
        group: Its number.
        mistakes: How many.
        similarity: Mean of theirs.
        filters: The guiltiest ones.
        files: Names of their images, the most typical first.
    """

    group: int
    mistakes: int
    similarity: float
    filters: list[GuiltyContent]
    files: list[str]


class SortedMistake(TypedDict):
    """A mistake.

    Attributes:
        file: Name of the image.
        label: Number of its true class.
        predicted: Number of the class that the model took it for.
        confidence: Softmax probability of that.
        group: Its group; null for none.
        similarity: To its group; null for none.
        nearest: Name of the image of the most similar mistake; null where there is no other.
        nearest_similarity: Its similarity.
        doubt: How much speaks against the label, 0 for nothing; null where nothing is known.
        suggested: Number of the class that most speaks for; likewise.
        likely_wrong: Whether that is another class, with more than half of confidence and support; likewise.
    """

    file: str
    label: int
    predicted: int
    confidence: float
    group: int | None
    similarity: float | None
    nearest: str | None
    nearest_similarity: float | None
    doubt: NotRequired[float | None]
    suggested: NotRequired[int | None]
    likely_wrong: NotRequired[bool | None]


class GroupCure(TypedDict):
    """What came of the cure of a group.

    Attributes:
        group: Its number.
        patch: File of the patch; null where the cure was refused.
    """

    group: int
    patch: str | None
    cure: Annotated[CureContent, INLINE]


class TriageReportContent(ReportContent):
    """All mistakes of labelled images, sorted.

    Attributes:
        summary: The figures that come first.
        reference: What filters usually do.
        confusion_pairs: Which class is taken for which, the most frequent first.
        significant_filters: Filters that are more salient in mistakes.
        all_mistakes: The guiltiest filters of all mistakes.
        label_doubts: What speaks against the labels of the mistakes.
        groups: Mistakes that belong together.
        mistakes: Every mistake.
        cures: What came of the cure of each group, where one was looked for.
    """

    summary: TriageSummary
    reference: ReferenceOrigin
    confusion_pairs: list[ConfusionPair]
    significant_filters: list[SignificantFilter]
    all_mistakes: list[GuiltyContent]
    label_doubts: NotRequired[LabelDoubts]
    groups: list[GroupContent]
    mistakes: list[SortedMistake]
    cures: NotRequired[list[GroupCure]]


class GuiltyRow(TypedDict):
    """A filter that stands out in a set of mistakes.

    Attributes:
        group: Number of the group; empty for all mistakes.
        mistakes: How many the set has.
        rank: From 1 on, the highest score first.
        filter: Its name.
        score: What it is ranked by.
        coherence: How much the mistakes want the same change, 1 for all.
        excess: How far above the usual its saliency is, in standard deviations.
        pull: Above 0 where the loss falls if it gets weaker.
        superiority: Chance that it is more salient in a mistake than in a right image.
        q_value: Of that, over all filters.
    """

    group: int | None
    mistakes: int
    rank: int
    filter: str
    score: float
    coherence: float
    excess: float
    pull: float
    superiority: float
    q_value: float


class MistakeRow(TypedDict):
    """A mistake."""

    mistake: Annotated[SortedMistake, INLINE]


_Spaced = TypedDict("_Spaced", {"already right": NotRequired[int], "right images": int})


class CureRow(_Spaced):
    """What came of the cure of a group, with how many of its mistakes were "already right", and "right images" judged.

    Attributes:
        group: Its number.
        given: Its mistakes, with those that the cures before it had put right.
        mistakes: Those that judged.
        cured: How many of them were cured.
        broken: How many of the right images that judged were broken.
        p: Of McNemar's exact test, two-sided.
        status: Whether it is kept.
        reason: Why, in a sentence.
    """

    group: int
    given: int
    mistakes: int
    cured: int
    broken: int
    p: float
    status: Literal["kept", "refused", "too few"]
    reason: str
