"""Where the evidence for the true and for the predicted class of a mistake was gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from captum_paramsal.attr import DiscernibleNeurons
from captum_paramsal.errors import InputError, TraceError
from captum_paramsal.hooks import two_class_view
from captum_paramsal.metrics import iou
from captum_paramsal.report.explain.data import Mistake
from captum_paramsal.report.explain.filter_paths import FilterPaths
from captum_paramsal.report.explain.mistakes import ScoringPass
from captum_paramsal.report.explain.neuron_figures import draw_neurons
from captum_paramsal.report.explain.trace_records import (
    ClassTrace,
    FilterPath,
    MapPair,
    MistakeTraces,
    NeuronFigures,
    PathDrawing,
    TraceMap,
    Tracing,
)
from captum_paramsal.report.shared.report import class_name
from captum_paramsal.sources import Picture, SourceBatch
from captum_paramsal.sources.pictures import encode_glow, glow_size
from captum_paramsal.traces import Trace
from captum_paramsal.viz import decoded
from captum_paramsal.viz.traces import trace_glow

_METHOD = DiscernibleNeurons.__name__
_FIGURES = 2
"""Mistakes whose neurons are shown layer by layer."""


@dataclass(frozen=True)
class Traces:
    """Traces of the mistakes by position of their image.

    Attributes:
        tracing: How they were made, or why there are none; None if that was turned off.
        of_mistakes: What is said about them.
        maps: The traces over their pictures, of those images that have one.
        neurons: Figures of their neurons, of the first few mistakes that have a picture and no empty trace.
        paths: What goes through the guilty filters of the first mistakes.
        path_drawings: The same, to be drawn.
    """

    tracing: Tracing | None = None
    of_mistakes: dict[int, MistakeTraces] = field(default_factory=dict)
    maps: dict[int, MapPair] = field(default_factory=dict)
    neurons: dict[int, NeuronFigures] = field(default_factory=dict)
    paths: dict[int, FilterPath] = field(default_factory=dict)
    path_drawings: dict[int, PathDrawing] = field(default_factory=dict)

    def take(self, other: Traces) -> None:
        """Add those of another batch."""
        self.of_mistakes.update(other.of_mistakes)
        self.maps.update(other.maps)
        self.paths.update(other.paths)
        self.path_drawings.update(other.path_drawings)
        # Several processes may each have drawn the figures that were still to be drawn.
        self.neurons.update(list(other.neurons.items())[: _FIGURES - len(self.neurons)])

    def with_traces(self, mistakes: Sequence[Mistake]) -> tuple[Mistake, ...]:
        """The mistakes with what is said about their traces."""
        return tuple(replace(mistake, traces=self.of_mistakes.get(mistake.position)) for mistake in mistakes)


def trace_mistakes(
    scoring: ScoringPass,
    mistakes: Sequence[Mistake],
    pictures: dict[int, Picture],
    classes: Mapping[int, str],
    *,
    paths: int = 0,
) -> Traces:
    """Follow the scores of the true and of the predicted class of mistakes back to pixels.

    A model that cannot be traced is no error: the reason takes the place of the traces.

    Args:
        scoring: Model and images.
        mistakes: Which mistakes; the first of them get figures of their neurons.
        pictures: What the images look like, of those that can be shown.
        classes: Names of the classes, as far as known.
        paths: Mistakes that get the way through their guiltiest filter, at most.
    """
    method = DiscernibleNeurons(two_class_view(scoring.saliency.model))
    by_position = {mistake.position: mistake for mistake in mistakes}
    whole, size, through = Traces(), None, FilterPaths(method)
    looked_at = {*list(by_position)[:paths]}

    def traced(batch: SourceBatch) -> Traces:
        own = [by_position[position] for position in batch.positions]
        first = [mistake for mistake in own if mistake.position in looked_at]
        predicted = torch.tensor([mistake.predicted for mistake in own]).to(batch.labels)
        if batch.inputs.ndim != 4:
            message = f"Expected images (N, C, H, W), which a page can show, got {tuple(batch.inputs.shape)}."
            return Traces(Tracing(_METHOD, refused=message))
        try:
            pair = (method.trace(batch.inputs, batch.labels), method.trace(batch.inputs, predicted))
            ways, drawings = through.of_batch(batch.inputs, pair[1], first, pictures)
        except (TraceError, InputError) as error:
            return Traces(Tracing(_METHOD, refused=str(error)))
        tracing = Tracing(_METHOD, (batch.inputs.shape[2], batch.inputs.shape[3]))
        traces = Traces(tracing, paths=ways, path_drawings=drawings)
        _add(traces, own, pair, pictures, classes, figures=_FIGURES - len(whole.neurons))
        return traces

    for _, traces in scoring.made(traced, list(by_position), "traces"):
        if traces.tracing is None or traces.tracing.refused:
            return traces
        size = traces.tracing.size
        whole.take(traces)
    return replace(whole, tracing=Tracing(_METHOD, size))


def _add(
    traces: Traces,
    mistakes: Sequence[Mistake],
    pair: tuple[Trace, Trace],
    pictures: dict[int, Picture],
    classes: Mapping[int, str],
    *,
    figures: int,
) -> None:
    """Add the traces of one batch, those of the true and of the predicted classes."""
    heat = [trace.heatmap().cpu() for trace in pair]
    boxes = [trace.boxes().cpu() for trace in pair]
    for image, mistake in enumerate(mistakes):
        position = mistake.position
        points = [trace.points(image).cpu() for trace in pair]
        traces.of_mistakes[position] = _mistake_traces(points, [rows[image] for rows in boxes])
        if position not in pictures:
            continue
        picture = pictures[position]
        label, predicted = (_map(picture, *each) for each in zip(points, (rows[image] for rows in heat), strict=True))
        traces.maps[position] = label, predicted
        if label and predicted and len(traces.neurons) < figures:
            names = class_name(classes, mistake.label), class_name(classes, mistake.predicted)
            prefix = f"neurons-{position}-"
            traces.neurons[position] = draw_neurons(pair, image, names, decoded(picture.data, picture.mime), prefix)


def _mistake_traces(points: Sequence[Tensor], boxes: Sequence[Tensor]) -> MistakeTraces:
    label, predicted = map(_class_trace, points, boxes)
    overlap = None if label.box is None or predicted.box is None else float(iou(boxes[0][None], boxes[1][None]))
    return MistakeTraces(label, predicted, overlap)


def _class_trace(points: Tensor, box: Tensor) -> ClassTrace:
    x1, y1, x2, y2 = box.tolist()
    return ClassTrace(len(points), (x1, y1, x2, y2) if len(points) else None)


def _map(picture: Picture, points: Tensor, heat: Tensor) -> TraceMap | None:
    if not len(points):
        return None
    places = tuple((y, x) for y, x in points.tolist())
    return TraceMap(encode_glow(trace_glow(heat, glow_size(picture))), places)
