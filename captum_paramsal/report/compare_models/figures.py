"""The figures of a report on two checkpoints, as files and for its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor

from captum_paramsal.models_compared import GROUPS
from captum_paramsal.report.compare_models.data import TOP, ModelComparisonData
from captum_paramsal.report.shared.predictions import spread_with_ends
from captum_paramsal.sources import Picture
from captum_paramsal.sources.pictures import encode_tensor
from captum_paramsal.viz import decoded, metric_bars, pixel_overlay, profile_plot, to_png, to_svg
from captum_paramsal.viz.traces import trace_overlay

_SHORT = {"only_a": "A only", "only_b": "B only", "both": "both right"}
_LAYERS = 20
"""Layers that the figure of the traces shows, evenly spread."""


def model_figures(report: ModelComparisonData) -> dict[str, bytes]:
    """The PNG files beside the page, by name."""
    files = {"filters.png": to_png(_filters(report))}
    if report.differences.layers:
        files["layers.png"] = to_png(_layers(report))
    return files


def moved_drawing(report: ModelComparisonData) -> Markup:
    """How unusually far the filters of each layer moved, as an ``<svg>``."""
    top = report.comparison.top(1)[0]
    words = (
        "Curve for each layer from the input to the output, its filters from the highest to the lowest: how much "
        f"farther each moved than the filters of its layer usually did. Highest is {top.filter}, {top.change:.2f}."
    )
    return _drawn(to_svg(_filters(report), words, prefix="filters-"))


def layer_drawing(report: ModelComparisonData) -> Markup:
    """How many selected neurons both traces have, layer by layer, as an ``<svg>``; empty without traces."""
    if not report.differences.layers:
        return Markup()
    words = (
        "Bars for each layer of the traces: share of the selected neurons that both checkpoints have. See the table."
    )
    return _drawn(to_svg(_layers(report), words, prefix="layers-"))


def drawn_layers(report: ModelComparisonData) -> list[str]:
    """The layers that the figure shows."""
    return spread_with_ends(report.differences.layers, _LAYERS)


def pictures_of_maps(report: ModelComparisonData, place: int) -> dict[str, Picture | None]:
    """The maps of an image in both checkpoints over its picture, by name and checkpoint; None for what there is not.

    Args:
        report: With pictures.
        place: Among the images whose maps are kept.
    """
    differences = report.differences
    number = int(differences.images[differences.kept[place]])
    picture = report.pictures.get(number)
    kinds: dict[str, tuple[Tensor, Callable[[Any, Any], Tensor]]] = {
        "trace": (differences.trace_maps, trace_overlay),
        "saliency": (differences.saliency_maps, pixel_overlay),
    }
    pictures: dict[str, Picture | None] = {}
    for kind, (maps, draw) in kinds.items():
        for checkpoint, name in enumerate("ab"):
            drawable = picture is not None and maps.numel() > 0
            values = maps[checkpoint, place] if drawable else torch.zeros(1, 1)
            if picture is None or not values.isfinite().all() or not values.any():
                pictures[f"{kind}_{name}"] = None
            else:
                image = decoded(picture.data, picture.mime)
                pictures[f"{kind}_{name}"] = encode_tensor(draw(image, values[None] if kind == "saliency" else values))
    return pictures


def _filters(report: ModelComparisonData) -> Any:
    comparison = report.comparison
    marks = [row.filter for row in comparison.top(TOP) if row.change > 0]
    return profile_plot(comparison.change, comparison.filters, marks=marks, ylabel="change (lengths of a usual filter)")


def _layers(report: ModelComparisonData) -> Any:
    rows = {(row["layer"], row["group"]): row for row in report.differences.layer_table()}
    groups = [group for group in GROUPS if any(key[1] == group for key in rows)]
    layers = drawn_layers(report)
    mean, low, high = (
        torch.tensor([[rows[layer, group][end] for layer in layers] for group in groups], dtype=torch.float64)
        for end in ("mean", "low", "high")
    )
    unit = "selected neurons that both have"
    return metric_bars(mean, low, high, layers, groups=[_SHORT[group] for group in groups], unit=unit)


def _drawn(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704 -- drawn by matplotlib, which escapes its texts
