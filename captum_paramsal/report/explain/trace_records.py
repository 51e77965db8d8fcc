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


@dataclass(frozen=True)
class LayerShare:
    """How much of a trace is on a way, in one layer.

    Attributes:
        layer: Its name; "output" for the class score, "input" for the image.
        neurons: Those of the trace that are on the way.
        whole: Those of the whole trace.
    """

    layer: str
    neurons: int
    whole: int


@dataclass(frozen=True)
class FilterPath:
    """What of the trace of the predicted class of a mistake goes through a guilty filter.

    Attributes:
        tried: Guilty filters that were looked for in the trace, the guiltiest first.
        rank: Of the guiltiest one that the trace passes, 1 for the guiltiest of all; null where it passes none of them.
        share: Of the trace's neurons at the image, those that are reached through this filter; 0 for none.
        places: In the filter's map, that the way passes.
        pixels: In which the way ends.
        layers: All of the trace, from the class score to the image; none where it passes none of the filters.
    """

    tried: int
    rank: int | None = None
    share: float = 0.0
    places: int = 0
    pixels: int = 0
    layers: tuple[LayerShare, ...] = ()


@dataclass(frozen=True)
class PathDrawing:
    """Where a way through a filter leads.

    Attributes:
        points: y and x of each pixel, in pixels of the model's input.
        places: y and x of each place in the filter's map, the strongest first.
        size: Height and width of this map.
        box: x, y, width and height of what the filter sees from the strongest place, in pixels of the model's input;
            None for the whole image, or where it cannot be told.
        map: The filter's map, the brighter, the larger; None where there is none.
    """

    points: tuple[tuple[int, int], ...]
    places: tuple[tuple[int, int], ...]
    size: tuple[int, int]
    box: tuple[int, int, int, int] | None = None
    map: Picture | None = None
