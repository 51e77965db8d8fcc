"""What is said about the traces of a mistake, and what is drawn of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from captum_paramsal.sources import Picture

TracedBox: TypeAlias = tuple[float, float, float, float]
"""x1, y1 inclusive, x2, y2 exclusive, in pixels of the model's input."""


@dataclass(frozen=True)
class ClassTrace:
    """Where the trace of one class ends.

    Attributes:
        pixels: How many pixels, outliers left out; 0 for an empty trace.
        box: Their tight box; None for an empty trace.
    """

    pixels: int
    box: TracedBox | None


@dataclass(frozen=True)
class MistakeTraces:
    """The traces of one mistake.

    Attributes:
        label: That of the true class.
        predicted: That of the predicted class.
        iou: Intersection over union of both boxes; None where one of the traces is empty.
    """

    label: ClassTrace
    predicted: ClassTrace
    iou: float | None


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


@dataclass(frozen=True)
class TraceMap:
    """A trace over its picture.

    Attributes:
        heat: What glows over the dimmed picture, smaller than it.
        points: y and x of each pixel, outliers left out, in pixels of the model's input.
    """

    heat: Picture
    points: tuple[tuple[int, int], ...]


MapPair: TypeAlias = tuple[TraceMap | None, TraceMap | None]
"""Of the true and of the predicted class; None for an empty trace."""


@dataclass(frozen=True)
class NeuronFigures:
    """Two figures of one image's neurons.

    Attributes:
        label: ``<svg>`` of the true class.
        predicted: ``<svg>`` of the predicted class.
        shown: How many layers they show.
        layers: How many layers have neurons.
    """

    label: str
    predicted: str
    shown: int
    layers: int
