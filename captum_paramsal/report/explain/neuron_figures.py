"""The neurons that carried the scores of two classes, layer by layer, as two figures of the same layers."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any

from torch import Tensor

from captum_paramsal.functional.fixations import crowded
from captum_paramsal.report.explain.trace_records import NeuronFigures
from captum_paramsal.report.shared.predictions import spread_with_ends
from captum_paramsal.sources.pictures import recode
from captum_paramsal.traces import Trace
from captum_paramsal.viz import neurons_plot, to_svg

_ROWS = 12
"""Layers that fit into one column, which fits onto any screen."""
_DOT = re.compile(
    r'<path d="(?P<path>M [-\d. ]+(?:C [-\d. ]+){8}z\s*)" clip-path="[^"]*" style="fill: (?P<fill>#\w+)[^"]*"/>'
)
_PICTURE = re.compile(r"data:image/png;base64,([A-Za-z\d+/=\s]+)")


def draw_neurons(
    traces: tuple[Trace, Trace], image: int, names: tuple[str, str], picture: Tensor, prefix: str
) -> NeuronFigures:
    """Draw the selected neurons of one image for its true and its predicted class.

    Args:
        traces: Of the true and of the predicted class, over the same images.
        image: Which of them.
        names: Of both classes.
        picture: The image before its preparation, ``(1 or 3, h, w)`` in [0, 1].
        prefix: Before the ids of the figures, so that they can stand on one page with others.
    """
    neurons = [_layers(trace, image) for trace in traces]
    reached = [name for name in neurons[0] if any(len(layers[name]["score"]) for layers in neurons)]
    shown = spread_with_ends(reached, _ROWS)
    drawn = []
    for number, (trace, layers, name) in enumerate(zip(traces, neurons, names, strict=True)):
        output = {"output": {int(trace.labels[image]): name}}
        axes = neurons_plot({layer: layers[layer] for layer in shown}, image=picture, names=output, columns=1)
        counts = ", ".join(f"{len(layers[layer]['score'])} in {layer}" for layer in shown)
        description = f"Neurons that carried most of the score of {name}, layer by layer: {counts}."
        drawn.append(_compact(to_svg(axes, description, prefix=f"{prefix}{number}-")))
    label, predicted = drawn
    return NeuronFigures(label, predicted, len(shown), len(reached))


def _layers(trace: Trace, image: int) -> dict[str, dict[str, Any]]:
    """One image's neurons as figures take them; its pixels each once, without outliers."""
    layers: dict[str, dict[str, Any]] = {}
    for name, neurons in trace.layers.items():
        of_image = neurons.of_image(image)
        layers[name] = {
            "channel": of_image.channel,
            "y": of_image.y,
            "x": of_image.x,
            "score": of_image.score,
            "size": of_image.size,
        }
    points, size = trace.pixels, layers["input"]["size"]
    rows = (points.image == image).nonzero()[:, 0]
    rows = rows[crowded(trace.points(image, outliers=True), trace.shape[2:])]
    layers["input"] = {"y": points.y[rows], "x": points.x[rows], "score": points.score[rows], "size": size}
    return layers


def _compact(svg: str) -> str:
    """Dots, which are paths of their own, as circles, and the picture as small as a photo."""
    return _PICTURE.sub(lambda found: recode(b64decode(found[1])).uri, _DOT.sub(_circle, svg))


def _circle(dot: re.Match[str]) -> str:
    """A dot that matplotlib drew from its lowest point, the first, by eight arcs."""
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", dot["path"])]
    rightmost, bottom, x = max(numbers[::2]), numbers[1], numbers[0]
    radius = rightmost - x
    return f'<circle cx="{x:.1f}" cy="{bottom - radius:.1f}" r="{radius:.2f}" fill="{dot["fill"]}"/>'
