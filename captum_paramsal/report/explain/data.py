"""What is said about one mistake, and about a group of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from captum_paramsal.filters import Filter
from captum_paramsal.report.explain.trace_records import MistakeTraces


@dataclass(frozen=True)
class RankedFilter:
    """A filter and its score for one image.

    Attributes:
        filter: The filter.
        score: In standard deviations of the reference, or in nats.
        p_value: How probable such a value is over the reference; None for a method that does not say.
    """

    filter: Filter
    score: float
    p_value: float | None = None

    def to_dict(self, rank: int) -> dict[str, Any]:
        """As JSON has it."""
        one = self.filter
        place = {"rank": rank, "layer": one.layer, "index": one.index, "part": one.part}
        return {**place, "score": self.score, "p_value": self.p_value}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RankedFilter:
        """Back from JSON, also from that of version 1, which has no p-values."""
        one = Filter(content["layer"], content["index"], content["part"])
        return cls(one, content["score"], content.get("p_value"))


@dataclass(frozen=True)
class Mistake:
    """One image that the model got wrong.

    Attributes:
        position: Place among the source's images.
        file: Name of the image.
        label: Number of its true class.
        prediction: Number of the class that the model took it for.
        label_confidence: Softmax probability of the true class.
        prediction_confidence: Softmax probability of the predicted class.
        filters: The highest-scoring filters, highest first; of tail scores, those above their threshold alone.
        unusual: How many of all filters are unusual, see :mod:`captum_paramsal.report.explain.score_scale`.
        note: A remark from the source.
        curve: Its saliency profile at the explanation's ``places``; empty where no card is drawn.
        traces: Where the evidence for the true and for the predicted class was gathered; None if not traced.
    """

    position: int
    file: str
    label: int
    prediction: int
    label_confidence: float
    prediction_confidence: float
    filters: tuple[RankedFilter, ...]
    unusual: int
    note: str = ""
    curve: tuple[float, ...] = ()
    traces: MistakeTraces | None = None

    def to_dict(self, classes: Mapping[int, str]) -> dict[str, Any]:
        """As JSON has it, with the names of the classes."""
        content = asdict(self)
        content["label_name"] = classes.get(self.label, "")
        content["prediction_name"] = classes.get(self.prediction, "")
        content["filters"] = [ranked.to_dict(rank) for rank, ranked in enumerate(self.filters, 1)]
        content["curve"] = list(self.curve)
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Mistake:
        """Back from JSON, also from that of versions before 3, which have no traces."""
        own = {name: content[name] for name in cls.__dataclass_fields__ if name != "traces"}
        traces = content.get("traces")
        own["traces"] = None if traces is None else MistakeTraces.from_dict(traces)
        own["filters"] = tuple(RankedFilter.from_dict(ranked) for ranked in content["filters"])
        own["curve"] = tuple(content["curve"])
        return cls(**own)


@dataclass(frozen=True)
class ImageGroup:
    """Scored images taken together: the mistakes, or correctly classified images for comparison.

    Attributes:
        images: How many.
        mean: Mean score of each filter over them, F of them, scores above the yardstick's ceiling counted as that;
            empty for no image.
        unusual: Mean number of unusual filters per image.
        appearances: By column of the scores, on how many images the filter is among the top k.
    """

    images: int = 0
    mean: tuple[float, ...] = ()
    unusual: float = 0.0
    appearances: Mapping[int, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        appearances = {str(column): count for column, count in sorted(self.appearances.items())}
        return {**asdict(self), "mean": list(self.mean), "appearances": appearances}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ImageGroup:
        """Back from JSON."""
        appearances = {int(column): count for column, count in content["appearances"].items()}
        return cls(content["images"], tuple(content["mean"]), content["unusual"], appearances)
