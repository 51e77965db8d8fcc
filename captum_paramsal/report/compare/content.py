"""What ``comparison.json`` and ``comparison.csv`` say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict

from captum_paramsal.files.contents import ColumnContent, FailureContent
from captum_paramsal.report.shared.content import ReferenceOrigin, ReportContent, SummaryContent


class ComparisonSummary(SummaryContent):
    """The figures that come first.

    Attributes:
        candidates: Images that there are to choose from, which the accuracy is of.
    """

    candidates: int


class MeanRow(TypedDict):
    """What a method scores by one metric.

    Attributes:
        group: On "all" images, on "correct" ones or on "mistakes".
        method: Name of the method.
        metric: Name of the column.
        unit: In words; empty for a pure number.
        better: Which end is the better one; empty where none is.
        mean: Over the images; null without any.
        low: Lower end of its 95 % interval; null for costs.
        high: Upper end.
        images: How many have a score.
        degenerate: How many maps say nothing.
        failed: On how many images the method raised.
    """

    group: Literal["all", "correct", "mistakes"]
    method: str
    metric: str
    unit: str
    better: Literal["higher", "lower", ""]
    mean: float
    low: float
    high: float
    images: int
    degenerate: int
    failed: int


class PairedRow(TypedDict):
    """Two methods on the same images.

    Attributes:
        metric: Name of the column.
        first: Name of a method.
        second: Name of another.
        images: How many have a score of both.
        mean: Mean difference, the first less the second.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p_value: Of the difference.
        adjusted_p_value: For the number of pairs.
    """

    metric: str
    first: str
    second: str
    images: int
    mean: float
    low: float
    high: float
    p_value: float
    adjusted_p_value: float


class ComparedItem(TypedDict):
    """An image that was compared on.

    Attributes:
        file: Name of the image.
        label: Number of its true class.
    """

    file: str
    label: int


class ImageFailure(FailureContent):
    """A method or a metric that raised on an image.

    Attributes:
        file: Name of the image.
    """

    file: str


class RankRow(TypedDict):
    """A method's place by one metric.

    Attributes:
        metric: Name of the column.
        method: Name of the method.
        rank: 1 for the best mean; equal means share the mean of their ranks.
        low: Lower end of the rank's 95 % interval.
        high: Upper end.
        images: How many images the ranks of this metric are of.
        top: Whether its interval overlaps that of the first, so that it may be the best.
        unbeaten_controls: Methods and baselines that look at no model, or at no map, and that it is not better than.
    """

    metric: str
    method: str
    rank: float
    low: float
    high: float
    images: int
    top: bool
    unbeaten_controls: list[str]


class MetricPair(TypedDict):
    """Whether what is good by one metric is good by another.

    Attributes:
        first: Name of a column.
        second: Name of another.
        methods: How many methods both rank.
        correlation: Spearman's, of the methods' ranks.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    first: str
    second: str
    methods: int
    correlation: float
    low: float
    high: float


class GroupTrust(TypedDict):
    """Which methods to trust, on a group of images.

    Attributes:
        group: On "correct" images or on "mistakes".
        sentences: What can be said.
        ranks: Of every method by every metric that has a better end.
        measures: Every two of these metrics.
    """

    group: Literal["correct", "mistakes"]
    sentences: list[str]
    ranks: list[RankRow]
    measures: list[MetricPair]


class ComparisonReportContent(ReportContent):
    """Methods on images whose labels are known.

    Attributes:
        summary: The figures that come first.
        reference: What filters usually do; null for methods that need none.
        comparison: Versions, fingerprint of the model, settings of methods and metrics, seeds.
        methods: Names of the methods.
        columns: What is measured.
        table: Means with intervals.
        paired: Every two methods by every column that has a better end.
        trust: Which methods to trust, in each group of images.
        agreement: Mean rank correlation of every two methods' maps; null where no image has one.
        failures: What went wrong.
        items: The images, in order.
    """

    summary: ComparisonSummary
    reference: ReferenceOrigin | None
    comparison: Mapping[str, Any]
    methods: list[str]
    columns: list[ColumnContent]
    table: list[MeanRow]
    paired: list[PairedRow]
    trust: NotRequired[list[GroupTrust]]
    agreement: list[list[float]]
    failures: list[ImageFailure]
    items: list[ComparedItem]


class ScoreRow(TypedDict):
    """An image and a method, with a column of the name of each metric, empty where there is no score.

    Attributes:
        image: Number of the image.
        file: Name of the image.
        label: Number of its true class.
        target: Number of the class that is explained.
        predicted: Number of the class that the model predicts.
        method: Name of the method.
        degenerate: Whether the map says nothing.
    """

    image: int
    file: str
    label: int
    target: int
    predicted: int
    method: str
    degenerate: bool
