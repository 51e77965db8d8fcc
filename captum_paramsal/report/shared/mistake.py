"""What the reports on single mistakes say of each: which image it is, and what the model took it for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import deprecated

from captum_paramsal.report.shared.codec import to_json


@dataclass(frozen=True)
class ImageMistake:
    """One image that the model got wrong.

    Attributes:
        position: Place among the source's images.
        file: Name of the image.
        label: Number of its true class.
        predicted: Number of the class that the model took it for.
        label_confidence: Softmax probability of the true class.
        confidence: Softmax probability of the predicted class.
    """

    position: int
    file: str
    label: int
    predicted: int
    label_confidence: float
    confidence: float

    def to_dict(self, classes: Mapping[int, str]) -> dict[str, Any]:
        """As JSON has it, with the names of the classes."""
        names = {"label_name": classes.get(self.label, ""), "predicted_name": classes.get(self.predicted, "")}
        return {**to_json(self), **names}

    @property
    @deprecated("`prediction` of a mistake is now `predicted`; the old name goes with version 0.3.")
    def prediction(self) -> int:
        """The former name of ``predicted``."""
        return self.predicted

    @property
    @deprecated("`prediction_confidence` of a mistake is now `confidence`; the old name goes with version 0.3.")
    def prediction_confidence(self) -> float:
        """The former name of ``confidence``."""
        return self.confidence
