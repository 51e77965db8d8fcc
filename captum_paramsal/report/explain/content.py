"""What ``explanation.json`` and ``filters.csv`` say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from typing_extensions import NotRequired, TypedDict

from captum_paramsal.files.json_schema import INLINE
from captum_paramsal.report.explain.calibration import Calibration
from captum_paramsal.report.explain.data import ImageGroup, Mistake, NearMistake, RankedFilter
from captum_paramsal.report.explain.exemplar_records import SuspectExemplars
from captum_paramsal.report.explain.tail_summary import TailSummary
from captum_paramsal.report.explain.trace_records import FilterPath, Tracing
from captum_paramsal.report.shared.content import (
    NamedClasses,
    ReferenceOrigin,
    ReportContent,
    SummaryContent,
)


class MethodContent(TypedDict):
    """How filters were scored.

    Attributes:
        name: Of the method.
        unit: Of the scores.
        unusual_above: Score from which on a filter is unusual, where that is fixed.
        fit: How tails were fitted.
        false_discovery_rate: By which a filter is unusual, where that is fixed.
    """

    name: str
    unit: str
    unusual_above: NotRequired[float]
    fit: NotRequired[str]
    false_discovery_rate: NotRequired[float]


class LayerContent(TypedDict):
    """A layer whose filters were scored.

    Attributes:
        name: Of the layer.
        filters: How many it has.
        parts: Names of its slices, where they have names.
    """

    name: str
    filters: int
    parts: list[str]


class GroupsContent(TypedDict):
    """Images taken together.

    Attributes:
        correct: Correctly classified images, to compare with.
        mistakes: All mistakes.
    """

    correct: ImageGroup
    mistakes: ImageGroup


class RankedContent(TypedDict):
    """A filter of a mistake.

    Attributes:
        rank: From 1 on, the highest score first.
    """

    rank: int
    ranked: Annotated[RankedFilter, INLINE]


class MistakeContent(NamedClasses):
    """An image that the model got wrong.

    Attributes:
        filters: The guiltiest ones, first those with the highest scores.
    """

    mistake: Annotated[Mistake, INLINE]
    filters: list[RankedContent]


class ExplanationContent(ReportContent):
    """Every mistake of a model on a set of images, and the filters behind it.

    Attributes:
        summary: The figures that come first.
        method: How filters were scored.
        reference: What filters usually do.
        layers: Those whose filters were scored, in the order of the columns.
        tails: How well tails fit; null for a method without.
        calibration: Whether p-values are what they say; null for a method without.
        traces: How mistakes were traced back to pixels; null where that was turned off.
        pixels: File of the pixel gradients; null for none.
        groups: Images taken together.
        dead: Columns of filters without a score of their own.
        places: Where on the horizontal axis of a profile the points of each curve lie.
        neighbors: The mistakes that are nearest to each, by position.
        exemplars: What the usual suspects look for.
        paths: What of the trace of the predicted class goes through a guilty filter, by position of the mistake.
        mistakes: In the order of the images.
    """

    summary: SummaryContent
    method: MethodContent
    reference: ReferenceOrigin
    layers: list[LayerContent]
    tails: TailSummary | None
    calibration: Calibration | None
    traces: Tracing | None
    pixels: str | None
    groups: GroupsContent
    dead: list[int]
    places: list[float]
    neighbors: NotRequired[Mapping[int, list[NearMistake]]]
    exemplars: NotRequired[SuspectExemplars]
    paths: NotRequired[Mapping[int, FilterPath]]
    mistakes: list[MistakeContent]


class FilterRow(TypedDict):
    """A guilty filter of a mistake.

    Attributes:
        file: Name of the image.
        label: Number of its true class.
        label_name: Name of it; empty where it has none.
        label_confidence: Softmax probability of it.
        predicted: Number of the class that the model took it for.
        predicted_name: Name of it; empty where it has none.
        confidence: Softmax probability of it.
        rank: From 1 on, the highest score first.
        layer: Of the filter.
        index: Of the filter in its layer.
        part: Name of the slice, where it has one.
        score: In the unit that the data names.
        p_value: How probable such a value is; empty for a method that does not say.
        path_share: Of the neurons in which the trace of the predicted class ends, the share that is reached through the
            filter; 0 where the trace does not pass it, empty where that was not looked at.
    """

    file: str
    label: int
    label_name: str
    label_confidence: float
    predicted: int
    predicted_name: str
    confidence: float
    rank: int
    layer: str
    index: int
    part: str
    score: float
    p_value: float | None
    path_share: NotRequired[float | None]
