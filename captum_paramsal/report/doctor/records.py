"""What a doctor says about one mistake, and about a group of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from statistics import mean, median, stdev
from typing import Any


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
        for_prediction: Whether the predicted class relies on the channel.
        for_label: Whether the true class does.
    """

    channel: int
    correlation: float
    share: float | None
    usual: float | None
    low: float | None
    high: float | None
    p_value: float | None
    for_prediction: bool
    for_label: bool


@dataclass(frozen=True)
class DiagnosedMistake:
    """One image that the model got wrong.

    Attributes:
        position: Place among the source's images.
        file: Name of the image.
        label: Number of its true class.
        prediction: Number of the class that the model took it for.
        label_confidence: Softmax probability of the true class.
        prediction_confidence: Softmax probability of the predicted class.
        channels: Those with a tail probability of at most 0.05, the least probable first, then those with the most
            evidence.
        compared: Images of the predicted class that the model is right about, which the channels are compared with.
        unusual: How many channels have a tail probability of at most 0.05; None where these are fewer than 19, with
            which none can.
        wrong_share: Their share of the evidence; likewise.
        deviation: 1 - cosine of what the channels show and the predicted class's row of the diagnosis; None where the
            class has none.
        background: Share of the evidence outside of the object; None where nobody said where that lies.
        background_area: Share of the image outside of the object.
        note: A remark from the source.
        drawn: Whether it has a card in the report.
    """

    position: int
    file: str
    label: int
    prediction: int
    label_confidence: float
    prediction_confidence: float
    channels: tuple[ChannelFinding, ...]
    compared: int
    unusual: int | None
    wrong_share: float | None
    deviation: float | None
    background: float | None
    background_area: float | None
    note: str = ""
    drawn: bool = False

    def to_dict(self, classes: Mapping[int, str]) -> dict[str, Any]:
        """As JSON has it, with the names of the classes."""
        names = {"label_name": classes.get(self.label, ""), "prediction_name": classes.get(self.prediction, "")}
        return {**asdict(self), **names, "channels": [asdict(one) for one in self.channels]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> DiagnosedMistake:
        """Back from JSON."""
        own = {name: content[name] for name in cls.__dataclass_fields__}
        return cls(**{**own, "channels": tuple(ChannelFinding(**one) for one in content["channels"])})


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
    def of(cls, found: Sequence[DiagnosedMistake], channels: int) -> DiagnosedGroup:
        """Of images, right or wrong.

        Args:
            found: What is said about each.
            channels: Of the layer.
        """
        deviations = [one.deviation for one in found if one.deviation is not None]
        return cls(
            images=len(found),
            unusual=MeanWithError.of([None if one.unusual is None else one.unusual / channels for one in found]),
            wrong_share=MeanWithError.of([one.wrong_share for one in found]),
            deviation=median(deviations) if deviations else None,
            background=MeanWithError.of([one.background for one in found]),
            background_area=MeanWithError.of([one.background_area for one in found if one.background is not None]),
            excess=MeanWithError.of([_excess(one) for one in found]),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> DiagnosedGroup:
        """Back from JSON."""
        means: dict[str, Any] = {
            name: MeanWithError(**value) for name, value in content.items() if isinstance(value, dict)
        }
        return cls(**{**content, **means})


def _excess(one: DiagnosedMistake) -> float | None:
    return None if one.background is None or one.background_area is None else one.background - one.background_area
