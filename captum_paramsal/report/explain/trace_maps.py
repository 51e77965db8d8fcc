"""Where the evidence for the true and for the predicted class of a mistake was gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor

from captum_paramsal.attr import DiscernibleNeurons
from captum_paramsal.errors import InputError, TraceError
from captum_paramsal.metrics import iou
from captum_paramsal.report.explain.data import Mistake
from captum_paramsal.report.explain.mistakes import ScoringPass
from captum_paramsal.report.explain.neuron_figures import NeuronFigures, draw_neurons
from captum_paramsal.report.explain.trace_records import ClassTrace, MistakeTraces, Tracing
from captum_paramsal.report.shared.report import class_name
from captum_paramsal.sources import Picture
from captum_paramsal.sources.pictures import encode_tensor
from captum_paramsal.traces import Trace
from captum_paramsal.viz import decoded
from captum_paramsal.viz.traces import trace_overlay

_METHOD = DiscernibleNeurons.__name__
_FIGURES = 2
"""Mistakes whose neurons are shown layer by layer."""


@dataclass(frozen=True)
class TraceMap:
    """A trace over its picture.

    Attributes:
        heat: The picture in dimmed grey, with the heat map over it.
        points: y and x of each pixel, outliers left out, in pixels of the model's input.
    """

    heat: Picture
    points: tuple[tuple[int, int], ...]


MapPair: TypeAlias = tuple[TraceMap | None, TraceMap | None]
"""Of the true and of the predicted class; None for an empty trace."""


@dataclass(frozen=True)
class Traces:
    """Traces of the mistakes by position of their image.

    Attributes:
        tracing: How they were made, or why there are none; None where nobody asked for them.
        found: What is said about them.
        maps: The traces over their pictures, of those images that have one.
        neurons: Figures of their neurons, of the first few mistakes that have a picture and no empty trace.
    """

    tracing: Tracing | None = None
    found: dict[int, MistakeTraces] = field(default_factory=dict)
    maps: dict[int, MapPair] = field(default_factory=dict)
    neurons: dict[int, NeuronFigures] = field(default_factory=dict)

    def told(self, mistakes: Sequence[Mistake]) -> tuple[Mistake, ...]:
        """The mistakes with what is said about their traces."""
        return tuple(replace(one, traces=self.found.get(one.position)) for one in mistakes)


def trace_mistakes(
    scoring: ScoringPass, mistakes: Sequence[Mistake], pictures: dict[int, Picture], classes: Mapping[int, str]
) -> Traces:
    """Follow the scores of the true and of the predicted class of mistakes back to pixels.

    A model that cannot be traced is no error: it is told in place of the traces.

    Args:
        scoring: Model and images.
        mistakes: Which mistakes; the first of them get figures of their neurons.
        pictures: What the images look like, of those that can be shown.
        classes: Names of the classes, as far as known.
    """
    method = DiscernibleNeurons(scoring.saliency.model)
    by_position = {one.position: one for one in mistakes}
    traces, size = Traces(), None
    for positions, inputs, labels in scoring.inputs(list(by_position), "traces"):
        batch = [by_position[position] for position in positions]
        predicted = torch.tensor([one.prediction for one in batch]).to(labels)
        try:
            pair = (method.trace(inputs, labels), method.trace(inputs, predicted))
        except (TraceError, InputError) as error:
            return Traces(Tracing(_METHOD, refused=str(error)))
        size = (inputs.shape[2], inputs.shape[3])
        _add(traces, batch, pair, pictures, classes)
    return replace(traces, tracing=Tracing(_METHOD, size))


def _add(
    traces: Traces,
    batch: Sequence[Mistake],
    pair: tuple[Trace, Trace],
    pictures: dict[int, Picture],
    classes: Mapping[int, str],
) -> None:
    """Put one batch to the rest."""
    heat = [trace.heatmap().cpu() for trace in pair]
    boxes = [trace.boxes().cpu() for trace in pair]
    for image, one in enumerate(batch):
        points = [trace.points(image).cpu() for trace in pair]
        traces.found[one.position] = _said(points, [rows[image] for rows in boxes])
        if one.position not in pictures:
            continue
        picture = decoded(pictures[one.position].data, pictures[one.position].mime)
        label, prediction = (_map(picture, *each) for each in zip(points, (rows[image] for rows in heat), strict=True))
        traces.maps[one.position] = label, prediction
        if label and prediction and len(traces.neurons) < _FIGURES:
            names = class_name(classes, one.label), class_name(classes, one.prediction)
            prefix = f"neurons-{len(traces.neurons)}-"
            traces.neurons[one.position] = draw_neurons(pair, image, names, picture, prefix)


def _said(points: Sequence[Tensor], boxes: Sequence[Tensor]) -> MistakeTraces:
    label, prediction = (_class_trace(*one) for one in zip(points, boxes, strict=True))
    shared = None if label.box is None or prediction.box is None else float(iou(boxes[0][None], boxes[1][None]))
    return MistakeTraces(label, prediction, shared)


def _class_trace(points: Tensor, box: Tensor) -> ClassTrace:
    x1, y1, x2, y2 = box.tolist()
    return ClassTrace(len(points), (x1, y1, x2, y2) if len(points) else None)


def _map(picture: Tensor, points: Tensor, heat: Tensor) -> TraceMap | None:
    if not len(points):
        return None
    places = tuple((y, x) for y, x in points.tolist())
    return TraceMap(encode_tensor(trace_overlay(picture, heat)), places)
