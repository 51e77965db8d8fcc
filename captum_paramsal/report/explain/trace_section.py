"""What the page shows of the traces: two tiles on each card, and the neurons of the most confident mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from captum_paramsal.report.explain.data import ExplanationData, Mistake
from captum_paramsal.report.explain.trace_records import ClassTrace, TracedBox, TraceMap
from captum_paramsal.viz.traces import point_width


def dots_path(points: Iterable[tuple[int, int]]) -> str:
    """SVG path of points: lines of no length, which a round end makes dots.

    >>> dots_path([(1, 5), (2, 6)])
    'M5 1h0m1 1h0'

    Args:
        points: y and x of each.
    """
    path: list[str] = []
    last: tuple[int, int] | None = None
    for y, x in points:
        path.append(f"M{x} {y}h0" if last is None else f"m{x - last[1]} {y - last[0]}h0")
        last = y, x
    return "".join(path)


@dataclass(frozen=True)
class TraceTile:
    """The trace of one class.

    Attributes:
        kind: "right" for the true class, "wrong" for the predicted one.
        name: What the class is called.
        trace: What is said about it.
        map: The trace over its picture; None where it is empty or there is no picture.
        size: Height and width of the model's input, in which points and box are counted.
    """

    kind: str
    name: str
    trace: ClassTrace
    map: TraceMap | None
    size: tuple[int, int]

    @property
    def dots(self) -> str:
        """SVG path of the points, half a pixel up and left."""
        return dots_path(self.map.points) if self.map else ""

    @property
    def dot(self) -> float:
        """Width of a dot."""
        return round(point_width(self.size[1], self.trace.pixels), 3)

    @property
    def rim(self) -> float:
        """Width of the dark dot around it."""
        return round(1.3 * self.dot, 3)

    @property
    def box(self) -> TracedBox | None:
        """x, y, width and height of the box."""
        if self.trace.box is None:
            return None
        x1, y1, x2, y2 = self.trace.box
        return x1, y1, x2 - x1, y2 - y1


@dataclass(frozen=True)
class NeuronPair:
    """Figures of one mistake's neurons.

    Attributes:
        number: Of its card.
        label: What the true class is called.
        predicted: What the predicted class is called.
        drawings: ``<svg>`` of both classes.
        shown: How many layers they show.
        layers: How many layers have neurons.
    """

    number: int
    label: str
    predicted: str
    drawings: tuple[Markup, Markup]
    shown: int
    layers: int


def trace_tiles(explanation: ExplanationData, mistake: Mistake) -> Sequence[TraceTile]:
    """The tiles of one card, of the true and of the predicted class; none where nothing was traced."""
    if mistake.traces is None or explanation.tracing is None or explanation.tracing.size is None:
        return ()
    maps = explanation.trace_maps.get(mistake.position, (None, None))
    classes = ("right", mistake.label, mistake.traces.label), ("wrong", mistake.predicted, mistake.traces.predicted)
    return [
        TraceTile(kind, explanation.class_name(number), trace, shown, explanation.tracing.size)
        for (kind, number, trace), shown in zip(classes, maps, strict=True)
    ]


def neuron_pairs(explanation: ExplanationData, numbers: Mapping[int, int]) -> Sequence[NeuronPair]:
    """The figures of neurons, by number of their card."""
    pairs = []
    for mistake in explanation.mistakes:
        figures = explanation.neurons.get(mistake.position)
        if figures is not None and mistake.position in numbers:
            pair = NeuronPair(
                number=numbers[mistake.position],
                label=explanation.class_name(mistake.label),
                predicted=explanation.class_name(mistake.predicted),
                drawings=(Markup(figures.label), Markup(figures.predicted)),  # noqa: S704 -- matplotlib escapes its texts
                shown=figures.shown,
                layers=figures.layers,
            )
            pairs.append(pair)
    return sorted(pairs, key=lambda pair: pair.number)
