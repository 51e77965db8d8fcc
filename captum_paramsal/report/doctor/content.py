"""What ``doctor.json`` and ``channels.csv`` say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from typing_extensions import TypedDict

from captum_paramsal.files.json_schema import INLINE
from captum_paramsal.report.doctor.data import ChannelFinding, DiagnosedGroup, DiagnosedMistake
from captum_paramsal.report.doctor.treatment_records import Control, TreatmentResult
from captum_paramsal.report.shared.content import NamedClasses, ReportContent, SummaryContent


class DiagnosedLayer(TypedDict):
    """The layer whose channels are diagnosed.

    Attributes:
        name: Of the layer.
        channels: How many it has.
    """

    name: str
    channels: int


class UsualContent(TypedDict):
    """Images that the model is right about, which mistakes are compared with.

    Attributes:
        origin: Where they come from, in words.
        fitted_on_these_images: Whether these are the images of the report.
        images: How many.
        confident_images: Of how many the classes' channels were taken.
    """

    origin: str
    fitted_on_these_images: bool
    images: int
    confident_images: int


class DiagnosedGroups(TypedDict):
    """Images taken together.

    Attributes:
        correct: Correctly classified images, to compare with.
        mistakes: All mistakes.
    """

    correct: DiagnosedGroup
    mistakes: DiagnosedGroup


class TreatedContent(TypedDict):
    """What a treatment did to held-out images.

    Attributes:
        cured: Images that were mistaken and no longer are.
        broken: Images that were right and no longer are.
        control: A copy that was trained without constraints; null without one.
        accuracy_before: Share of the images that the untreated model gets right.
        accuracy_after: Share of the images that the treated model gets right.
    """

    cured: int
    broken: int
    control: Control | None
    accuracy_before: float
    accuracy_after: float
    result: Annotated[TreatmentResult, INLINE]


class DiagnosedContent(NamedClasses):
    """An image that the model got wrong, and the channels that misled it."""

    diagnosed: Annotated[DiagnosedMistake, INLINE]


class CheckupContent(ReportContent):
    """Every mistake of a model on a set of images, and the channels that misled it.

    Attributes:
        summary: The figures that come first.
        layer: The layer whose channels are diagnosed.
        method: Name and settings of the method.
        usual: Images that the model is right about.
        diagnosis: File of the diagnosis.
        groups: Images taken together.
        separation: Chance that a mistake has the larger number, by the name of that.
        treatment: What a treatment did; null for none.
        mistakes: In the order of the images.
    """

    summary: SummaryContent
    layer: DiagnosedLayer
    method: Mapping[str, Any]
    usual: UsualContent
    diagnosis: str
    groups: DiagnosedGroups
    separation: Mapping[str, float]
    treatment: TreatedContent | None
    mistakes: list[DiagnosedContent]


class ChannelRow(TypedDict):
    """A channel of a mistake.

    Attributes:
        file: Name of the image.
        label: Number of its true class.
        label_name: Name of it; empty where it has none.
        label_confidence: Softmax probability of it.
        predicted: Number of the class that the model took it for.
        predicted_name: Name of it; empty where it has none.
        confidence: Softmax probability of it.
        background: Share of the evidence outside of the object; empty where that is not annotated.
        background_area: Share of the image outside of the object.
        rank: From 1 on.
    """

    file: str
    label: int
    label_name: str
    label_confidence: float
    predicted: int
    predicted_name: str
    confidence: float
    background: float | None
    background_area: float | None
    rank: int
    finding: Annotated[ChannelFinding, INLINE]
