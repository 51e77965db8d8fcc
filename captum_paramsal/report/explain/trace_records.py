"""What is said about the traces of a mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

Box: TypeAlias = tuple[float, float, float, float]
"""x1, y1 inclusive, x2, y2 exclusive, in pixels of the model's input."""


@dataclass(frozen=True)
class ClassTrace:
    """Where the trace of one class ends.

    Attributes:
        pixels: How many pixels, outliers left out; 0 for an empty trace.
        box: Their tight box; None for an empty trace.
    """

    pixels: int
    box: Box | None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ClassTrace:
        """Back from JSON."""
        box = content["box"]
        return cls(content["pixels"], None if box is None else (box[0], box[1], box[2], box[3]))


@dataclass(frozen=True)
class MistakeTraces:
    """The traces of one mistake.

    Attributes:
        label: That of the true class.
        prediction: That of the predicted class.
        iou: Intersection over union of both boxes; None where one of the traces is empty.
    """

    label: ClassTrace
    prediction: ClassTrace
    iou: float | None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> MistakeTraces:
        """Back from JSON."""
        label, prediction = (ClassTrace.from_dict(content[name]) for name in ("label", "prediction"))
        return cls(label, prediction, content["iou"])


@dataclass(frozen=True)
class Tracing:
    """How mistakes were traced, or why they could not be.

    Attributes:
        method: Name of the method's class.
        size: Height and width of the model's input, in which boxes are counted; None if nothing was traced.
        refused: Why the model cannot be traced; empty if it can.
    """

    method: str
    size: tuple[int, int] | None = None
    refused: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "size": None if self.size is None else list(self.size)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Tracing:
        """Back from JSON."""
        size = content["size"]
        return cls(content["method"], None if size is None else (size[0], size[1]), content["refused"])
