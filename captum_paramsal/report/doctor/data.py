"""What a doctor says of every mistake, of groups of images, and of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from statistics import mean, median, stdev
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import Self

from captum_paramsal.doctor import Diagnosis
from captum_paramsal.repair import Patch
from captum_paramsal.report.doctor.treatment_records import TreatmentResult
from captum_paramsal.report.shared.codec import from_json, from_json_or_none
from captum_paramsal.report.shared.folder import SHARED_FILES
from captum_paramsal.report.shared.mistake import ImageMistake
from captum_paramsal.report.shared.report import Report
from captum_paramsal.sources import Picture

DIAGNOSIS, PATCH = "diagnosis.safetensors", "treated.patch.safetensors"


def number(value: float) -> float | None:
    """A number as JSON has it; None for NaN, which stands for "not known"."""
    return float(value) if isfinite(value) else None


@dataclass(frozen=True)
class MeanWithError:
    """A mean over images, and its standard error; None where there are too few images."""

    value: float | None
    error: float | None
    images: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> MeanWithError:
        """Of those that are known.

        >>> MeanWithError.of([1.0, None, 3.0])
        MeanWithError(value=2.0, error=1.0, images=2)
        """
        known = [value for value in values if value is not None]
        error = stdev(known) / len(known) ** 0.5 if len(known) > 1 else None
        return cls(mean(known) if known else None, error, len(known))


@dataclass(frozen=True)
class ChannelFinding:
    """What one channel says for the predicted class of an image.

    Attributes:
        channel: Its number.
        correlation: Its evidence for the predicted class, summed over places.
        share: That, of the evidence of all channels.
        usual: Median of it over images of the predicted class that the model is right about; like the next three, None
            where no such image is known.
        low: What 5 % of them stay below.
        high: What 5 % of them lie above.
        p_value: Probability that such an image shows as much or more.
        for_predicted: Whether the predicted class relies on the channel.
        for_label: Whether the true class does.
    """

    channel: int
    correlation: float
    share: float | None
    usual: float | None
    low: float | None
    high: float | None
    p_value: float | None
    for_predicted: bool
    for_label: bool


@dataclass(frozen=True)
class DiagnosedMistake(ImageMistake):
    """An image that the model got wrong, and the channels that misled it.

    Attributes:
        channels: Those with a tail probability of at most 0.05, the least probable first, then those with the most
            evidence.
        compared: Images of the predicted class that the model is right about, which the channels are compared with.
        unusual: How many channels have a tail probability of at most 0.05; None where these are fewer than 19, with
            which none can.
        wrong_share: Their share of the evidence; likewise.
        deviation: 1 - cosine of what the channels show and the predicted class's row of the diagnosis; None where the
            class has none.
        background: Share of the evidence outside of the object; None where that is not annotated.
        background_area: Share of the image outside of the object.
        note: A note from the source.
        drawn: Whether it has a card in the report.
    """

    channels: tuple[ChannelFinding, ...]
    compared: int
    unusual: int | None
    wrong_share: float | None
    deviation: float | None
    background: float | None
    background_area: float | None
    note: str = ""
    drawn: bool = False


@dataclass(frozen=True)
class DiagnosedGroup:
    """Diagnosed images taken together: the mistakes, or correctly classified images to compare them with.

    Attributes:
        images: How many.
        unusual: Share of the channels with a tail probability of at most 0.05, where there are such probabilities; in
            a usual image 0.05.
        wrong_share: Share of the evidence that these channels have.
        deviation: Median distance from the predicted class's row; None without any.
        background: Share of the evidence outside of the object, where that is known.
        background_area: Share of these images outside of the object.
        excess: The one minus the other, image by image.
    """

    images: int
    unusual: MeanWithError
    wrong_share: MeanWithError
    deviation: float | None
    background: MeanWithError
    background_area: MeanWithError
    excess: MeanWithError

    @classmethod
    def of(cls, diagnosed: Sequence[DiagnosedMistake], channels: int) -> DiagnosedGroup:
        """Of images, right or wrong.

        Args:
            diagnosed: What is said about each.
            channels: Of the layer.
        """
        deviations = [image.deviation for image in diagnosed if image.deviation is not None]
        unusual = [None if image.unusual is None else image.unusual / channels for image in diagnosed]
        areas = [image.background_area for image in diagnosed if image.background is not None]
        return cls(
            images=len(diagnosed),
            unusual=MeanWithError.of(unusual),
            wrong_share=MeanWithError.of([image.wrong_share for image in diagnosed]),
            deviation=median(deviations) if deviations else None,
            background=MeanWithError.of([image.background for image in diagnosed]),
            background_area=MeanWithError.of(areas),
            excess=MeanWithError.of([_excess(image) for image in diagnosed]),
        )


def _excess(image: DiagnosedMistake) -> float | None:
    if image.background is None or image.background_area is None:
        return None
    return image.background - image.background_area


@dataclass(frozen=True)
class EvidencePictures:
    """What a card shows of one mistake.

    Attributes:
        evidence: What glows over the picture: the evidence for the predicted class.
        wrong: That of the channels alone that should not speak as they do; None where there is none.
        outline: Lines x1, y1, x2, y2 around the object, ``(L, 4)``, in pixels of the model's input; None where it
            is not annotated.
        size: Height and width of the model's input.
    """

    evidence: Picture
    wrong: Picture | None
    outline: Tensor | None
    size: tuple[int, int]


@dataclass(frozen=True)
class DoctorData(Report):
    """Every mistake of a model on a set of images, and the channels that misled it.

    Attributes:
        images: Images that were classified.
        mistakes: Those that were classified wrongly, in the order of the images.
        diagnosis: Which channels each class relies on.
        mistake_group: The mistakes, together.
        correct_group: Correctly classified images, to compare them with.
        separation: How well two numbers tell mistakes from these: the chance that a mistake's is the larger one. By
            name, "deviation" and "doubt", 1 - the probability of the prediction; empty where there are too few.
        treatment: What a treatment did to these images; None without one.
        patch: What the treatment changed in the model, to be put on the untreated one.
        treated: The treated model; not saved as data.
        evidence: Maps of the mistakes that have a card, by position; not saved as data.
    """

    kind: ClassVar[str] = "doctor"
    schema: ClassVar[str] = "captum_paramsal.checkup"
    version: ClassVar[int] = 2
    data_file: ClassVar[str] = "doctor.json"
    files: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            data_file: "every number on the page",
            "channels.csv": "one row per mistake and channel",
            DIAGNOSIS: "which channels each class relies on",
            PATCH: "what the treatment changed",
            **SHARED_FILES,
        }
    )
    former_keys: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "prediction": "predicted",
            "prediction_name": "predicted_name",
            "prediction_confidence": "confidence",
            "for_prediction": "for_predicted",
            "incorrect": "mistakes",
            "remarks": "caveats",
            "sure_images": "confident_images",
        }
    )
    context_keys: ClassVar[tuple[str, ...]] = ("versions", "model", "images", "layer", "method", "usual", "parameters")

    images: int
    mistakes: tuple[DiagnosedMistake, ...]
    diagnosis: Diagnosis
    mistake_group: DiagnosedGroup
    correct_group: DiagnosedGroup
    separation: Mapping[str, float]
    treatment: TreatmentResult | None = None
    patch: Patch | None = field(default=None, compare=False, repr=False)
    treated: nn.Module | None = field(default=None, compare=False, repr=False)
    evidence: Mapping[int, EvidencePictures] = field(default_factory=dict, compare=False, repr=False)

    @property
    def image_count(self) -> int:
        """How many images were classified."""
        return self.images

    @property
    def mistake_count(self) -> int:
        """How many of them the model got wrong."""
        return len(self.mistakes)

    def facts(self) -> dict[str, Any]:
        """What this kind has to say, by key."""
        return {
            "diagnosis": DIAGNOSIS,
            "groups": {"correct": self.correct_group, "mistakes": self.mistake_group},
            "separation": self.separation,
            "treatment": None if self.treatment is None else self.treatment.to_dict(),
            "mistakes": [mistake.to_dict(self.classes) for mistake in self.mistakes],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """Back from ``to_dict``, without pictures; also from that of older versions, under the keys of now.

        Args:
            content: What ``to_dict`` returned.
            folder: Where diagnosis and patch lie.

        Raises:
            KeyError, TypeError: Something is missing, or of another kind.
            DiagnosisFileError, PatchError: The files beside it are missing or damaged.
        """
        treatment = content["treatment"]
        return cls(
            images=content["summary"]["images"],
            mistakes=from_json(content["mistakes"], tuple[DiagnosedMistake, ...]),
            diagnosis=Diagnosis.load(folder / content["diagnosis"]),
            mistake_group=from_json(content["groups"]["mistakes"], DiagnosedGroup),
            correct_group=from_json(content["groups"]["correct"], DiagnosedGroup),
            separation=content["separation"],
            **cls.shared_fields(content),
            treatment=from_json_or_none(treatment, TreatmentResult),
            patch=None if treatment is None else Patch.load(folder / PATCH),
        )

    def to_table(self) -> list[dict[str, Any]]:
        """One row per mistake and channel, as ``channels.csv`` has them."""
        rows = []
        for mistake in self.mistakes:
            content = mistake.to_dict(self.classes)
            about = {"schema_version": self.version, **{key: content[key] for key in _ABOUT_MISTAKE}}
            rows += [{**about, "rank": rank, **channel} for rank, channel in enumerate(content["channels"], 1)]
        return rows


_ABOUT_MISTAKE = (
    "file",
    "label",
    "label_name",
    "label_confidence",
    "predicted",
    "predicted_name",
    "confidence",
    "background",
    "background_area",
)
CHANNEL_COLUMNS = ("schema_version", *_ABOUT_MISTAKE, "rank", *(field.name for field in fields(ChannelFinding)))
"""Of ``channels.csv``."""
