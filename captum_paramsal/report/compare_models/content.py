"""What ``models.json`` and its tables say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from typing_extensions import TypedDict

from captum_paramsal.files.json_schema import INLINE
from captum_paramsal.report.compare_models.data import AnsweredImage
from captum_paramsal.report.shared.content import ModelContent, ReportContent, SummaryContent


class ModelsSummary(SummaryContent):
    """The figures that come first; images, mistakes and accuracy are those of A.

    Attributes:
        other_accuracy: Share of the images that B classifies correctly.
        only_a: Images that only A gets right.
        only_b: Images that only B gets right.
        both: Images that both get right.
        neither: Images that neither gets right.
        p_value: Exact McNemar test of as many that only A gets right as that only B does.
        candidates: Images that there are to choose from.
    """

    other_accuracy: float
    only_a: int
    only_b: int
    both: int
    neither: int
    p_value: float
    candidates: int


class ChangedContent(TypedDict):
    """A filter that differs.

    Attributes:
        rank: From 1 on.
        filter: Its name.
        change: How unusually far it moved.
        share_only_a: Its share of the larger loss of B, on images that only A gets right; null where there is none.
        share_only_b: The same on images that only B gets right.
    """

    rank: int
    filter: str
    change: float
    share_only_a: float
    share_only_b: float


class LossPart(TypedDict):
    """A part of the difference in loss, B less A.

    Attributes:
        part: Of the network.
        only_a: On images that only A gets right.
        only_b: On images that only B gets right.
    """

    part: str
    only_a: float
    only_b: float


class GroupMean(TypedDict):
    """A mean over a group of images.

    Attributes:
        group: Which images.
        images: How many have the number.
        mean: Of theirs.
        low: Lower end of its 95 % interval.
        high: Upper end.
        difference: To images that both get right; null for these.
        difference_low: Lower end of its 95 % interval.
        difference_high: Upper end.
    """

    group: Literal["only_a", "only_b", "both"]
    images: int
    mean: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float


class LayerMean(GroupMean):
    """How many of the selected neurons of a layer both checkpoints have.

    Attributes:
        layer: Name of the layer.
        part_there: In how many images the traces part there.
    """

    layer: str
    part_there: int


class MeasureMean(GroupMean):
    """How similar both checkpoints are by one measure.

    Attributes:
        measure: Its name.
    """

    measure: str


class StandingOut(TypedDict):
    """A filter that stands out differently in both.

    Attributes:
        group: On which images.
        filter: Its name.
        standing_a: How far it stands out in A, in standard deviations.
        standing_b: The same in B.
        difference: B less A.
        control: What that is on images that both get right.
    """

    group: Literal["only_a", "only_b"]
    filter: str
    standing_a: float
    standing_b: float
    difference: float
    control: float


class SimilarityContent(TypedDict):
    """How similar the explanations of one image are in both checkpoints.

    Attributes:
        group: Which of the checkpoints gets it right.
        label: Number of its true class.
        predicted_a: What A says.
        predicted_b: What B says.
        profile_correlation: Of the standardised saliency of the filters.
        box_iou: Intersection over union of the boxes of the traces.
        trace_correlation: Of the maps of the traces.
        saliency_correlation: Of the maps of input-space saliency.
        parts_at: Layer at which the traces part; empty where they do not.
    """

    group: Literal["only_a", "only_b", "both"]
    label: int
    predicted_a: int
    predicted_b: int
    profile_correlation: float
    box_iou: float
    trace_correlation: float
    saliency_correlation: float
    parts_at: str


class ExplainedContent(SimilarityContent):
    """An image whose neurons and pixels were compared.

    Attributes:
        file: Its name.
        image: Its number among those that were compared.
    """

    file: str
    image: int


class ModelsContent(ReportContent):
    """Two checkpoints of one architecture, A and B, on labelled images.

    Attributes:
        summary: The figures that come first.
        other: The second checkpoint, B.
        filters: Those that moved most.
        filters_by_loss: Those with the largest shares in the loss.
        loss: What the difference in loss is made of.
        moved_norms: Names of the norms whose statistics differ, farthest first.
        layers: How many neurons both have.
        similarity: How similar both are.
        standing_out: Filters that stand out differently.
        refused: What could not be made, by name, and why.
        explained: Images whose neurons and pixels were compared.
        answered: Every image that only one gets right.
        compared: Names of the images whose losses were compared.
    """

    summary: ModelsSummary
    other: ModelContent
    filters: list[ChangedContent]
    filters_by_loss: list[ChangedContent]
    loss: list[LossPart]
    moved_norms: list[str]
    layers: list[LayerMean]
    similarity: list[MeasureMean]
    standing_out: list[StandingOut]
    refused: Mapping[str, str]
    explained: list[ExplainedContent]
    answered: list[AnsweredImage]
    compared: list[str]


class ChangedRow(TypedDict):
    """A filter that differs."""

    changed: Annotated[ChangedContent, INLINE]


class ExplainedRow(TypedDict):
    """An image whose neurons and pixels were compared.

    Attributes:
        file: Its name.
    """

    file: str
    similarity: Annotated[SimilarityContent, INLINE]


class LayerRow(TypedDict):
    """How many of the selected neurons of a layer both checkpoints have.

    Attributes:
        layer: Name of the layer.
        part_there: In how many images the traces part there.
    """

    layer: str
    means: Annotated[GroupMean, INLINE]
    part_there: int
