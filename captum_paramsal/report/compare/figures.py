"""The figures of a comparison, as files and for its page."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from captum_paramsal.comparison import Comparison
from captum_paramsal.report.compare.data import ComparisonData
from captum_paramsal.report.compare.page_words import unit_of_mean
from captum_paramsal.sources import Picture
from captum_paramsal.sources.pictures import encode_tensor
from captum_paramsal.viz import (
    MapScale,
    agreement_plot,
    comparison_grid,
    decoded,
    map_scales,
    metric_bars,
    metric_panels,
    presentable,
    signed_overlay,
    to_png,
    to_svg,
)

_LARGEST = 160
"""Longer side of a map on the page, in pixels: about what its place there has."""


def comparison_figures(report: ComparisonData) -> dict[str, bytes]:
    """The PNG files beside the page, by name."""
    comparison = report.comparison
    explained = comparison.methods[: len(comparison.agreement)]
    ends = _ends(report)
    notes = comparison.columns
    bars = metric_panels(
        *ends,
        comparison.methods,
        [note.name for note in notes],
        groups=list(report.groups),
        units=[unit_of_mean(note) for note in notes],
        better=[note.better for note in notes],
    )
    files = {
        "metrics.png": to_png(bars[0], dpi=110),
        "agreement.png": to_png(agreement_plot(comparison.agreement, explained)),
    }
    if comparison.kept:
        names = [report.items[number].name for number in comparison.kept]
        pictures = shown_pictures(report)
        grid = comparison_grid(pictures, comparison.maps, explained, names=names, scale=report.scale)
        files["maps.png"] = to_png(grid)
    return files


def shown_pictures(report: ComparisonData) -> list[Tensor]:
    """The kept images for people, ``(3, H, W)`` each, in the size of their maps."""
    return [_shown_picture(report, place) for place in range(len(report.comparison.kept))]


def _shown_picture(report: ComparisonData, place: int) -> Tensor:
    picture = report.comparison.pictures[place]
    encoded = report.pictures.get(report.comparison.kept[place])
    if encoded is not None and (encoded.height, encoded.width) == tuple(picture.shape[1:]):
        return presentable(decoded(encoded.data, encoded.mime))
    return presentable(picture)


def map_pictures(pictures: Sequence[Tensor], maps: Sequence[Tensor], scale: MapScale = "map") -> list[list[Picture]]:
    """The maps ``(M, H, W)`` of each image over it, no larger than they are shown.

    A browser that shrank them would mix the red and blue of neighbours to purple; shrunk before they are coloured, what
    prevails there keeps its sign.
    """
    small = [_shrunk(picture, of_image) for picture, of_image in zip(pictures, maps, strict=True)]
    full = map_scales([list(of_image) for _, of_image in small], scale)
    return [
        [encode_tensor(signed_overlay(picture, values, top)) for values, top in zip(of_image, tops, strict=True)]
        for (picture, of_image), tops in zip(small, full, strict=True)
    ]


def _shrunk(picture: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    height, width = picture.shape[1:]
    share = min(1.0, _LARGEST / max(height, width))
    size = [max(1, round(height * share)), max(1, round(width * share))]
    return _resized(picture, size).clamp(0, 1), _resized(maps, size)


def metric_drawing(report: ComparisonData, place: int) -> str:
    """The methods by one column, as an ``<svg>``; without those that have no score in any group."""
    note = report.comparison.columns[place]
    means, low, high = (part[..., place] for part in _ends(report))
    scored = means.isfinite().any(dim=0)
    methods = [name for name, known in zip(report.comparison.methods, scored.tolist(), strict=True) if known]
    drawn = metric_bars(
        means[:, scored],
        low[:, scored],
        high[:, scored],
        methods,
        groups=list(report.groups),
        unit=unit_of_mean(note),
        better=note.better,
    )
    words = f"Means of {note.name} with 95 % intervals for {len(methods)} methods; the table has the numbers."
    return to_svg(drawn, words, prefix=f"metric{place}-")


def _resized(values: Tensor, size: list[int]) -> Tensor:
    """``(K, H, W)`` in another size; as it is where it has that."""
    if list(values.shape[1:]) == size:
        return values
    return interpolate(values[None], size, mode="bilinear", antialias=True)[0]


def agreement_drawing(comparison: Comparison) -> str:
    """The matrix of rank correlations, as an ``<svg>``."""
    names = comparison.methods[: len(comparison.agreement)]
    words = f"Matrix of rank correlations between the maps of {len(names)} methods: " + _similarity_words(
        comparison, names
    )
    return to_svg(agreement_plot(comparison.agreement, names), words, prefix="agreement-")


def _similarity_words(comparison: Comparison, names: Sequence[str]) -> str:
    pairs = [
        (float(comparison.agreement[i, j]), f"{names[i]} and {names[j]}")
        for i in range(len(names))
        for j in range(i)
        if comparison.agreement[i, j].isfinite()
    ]
    if not pairs:
        return "none is known."
    (high, most), (low, least) = max(pairs), min(pairs)
    return f"most similar are {most} ({high:.2f}), least {least} ({low:.2f})."


def _ends(report: ComparisonData) -> tuple[Tensor, Tensor, Tensor]:
    """Means and ends of their intervals, ``(G, M, C)``; correct images first, which are blue everywhere."""
    shape = len(report.groups), len(report.comparison.methods), len(report.comparison.columns)
    rows = [row for group in report.groups for row in report.tables[group]]
    mean, low, high = (
        torch.tensor([row[end] for row in rows], dtype=torch.float64).reshape(shape) for end in ("mean", "low", "high")
    )
    return mean, low, high
