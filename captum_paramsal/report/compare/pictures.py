"""The figures of a comparison, as files and for its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from captum_paramsal.comparison import Comparison
from captum_paramsal.report.compare.words import unit_of_mean
from captum_paramsal.sources import Picture
from captum_paramsal.sources.pictures import encode_tensor
from captum_paramsal.viz import (
    agreement_plot,
    comparison_grid,
    decoded,
    metric_bars,
    metric_panels,
    presentable,
    signed_overlay,
    to_png,
    to_svg,
)

if TYPE_CHECKING:
    from captum_paramsal.report.compare.report import ComparisonReport

_LARGEST = 160
"""Longer side of a map on the page, in pixels: about what its place there has."""


def figures(found: ComparisonReport) -> dict[str, bytes]:
    """The PNG files beside the page, by name."""
    comparison = found.comparison
    explained = comparison.methods[: len(comparison.agreement)]
    ends = _ends(found)
    notes = comparison.columns
    bars = metric_panels(
        *ends,
        comparison.methods,
        [note.name for note in notes],
        groups=list(found.groups),
        units=[unit_of_mean(note) for note in notes],
        better=[note.better for note in notes],
    )
    files = {
        "metrics.png": to_png(bars[0], dpi=110),
        "agreement.png": to_png(agreement_plot(comparison.agreement, explained)),
    }
    if comparison.kept:
        names = [found.items[number].name for number in comparison.kept]
        pictures = [shown_picture(found, place) for place in range(len(comparison.kept))]
        files["maps.png"] = to_png(comparison_grid(pictures, comparison.maps, explained, names=names))
    return files


def shown_picture(found: ComparisonReport, place: int) -> Tensor:
    """A kept image for people, ``(3, H, W)``, in the size of its maps."""
    own = found.comparison.pictures[place]
    encoded = found.pictures.get(found.comparison.kept[place])
    if encoded is not None and (encoded.height, encoded.width) == tuple(own.shape[1:]):
        return presentable(decoded(encoded.data, encoded.mime))
    return presentable(own)


def map_pictures(picture: Tensor, maps: Tensor) -> list[Picture]:
    """The maps ``(M, H, W)`` of an image over it, no larger than they are shown.

    A browser that shrank them would mix the red and blue of neighbours to purple; shrunk before they are coloured, what
    prevails there keeps its sign.
    """
    height, width = picture.shape[1:]
    share = min(1.0, _LARGEST / max(height, width))
    size = [max(1, round(height * share)), max(1, round(width * share))]
    small = _resized(picture, size).clamp(0, 1)
    return [encode_tensor(signed_overlay(small, one)) for one in _resized(maps, size)]


def metric_drawing(found: ComparisonReport, place: int) -> str:
    """The methods by one column, as an ``<svg>``; without those that have no score in any group."""
    note = found.comparison.columns[place]
    means, low, high = (part[..., place] for part in _ends(found))
    scored = means.isfinite().any(dim=0)
    methods = [name for name, known in zip(found.comparison.methods, scored.tolist(), strict=True) if known]
    drawn = metric_bars(
        means[:, scored],
        low[:, scored],
        high[:, scored],
        methods,
        groups=list(found.groups),
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
    words = f"Matrix of rank correlations between the maps of {len(names)} methods: " + _alike(comparison, names)
    return to_svg(agreement_plot(comparison.agreement, names), words, prefix="agreement-")


def _alike(comparison: Comparison, names: Sequence[str]) -> str:
    pairs = [
        (float(comparison.agreement[i, j]), f"{names[i]} and {names[j]}")
        for i in range(len(names))
        for j in range(i)
        if comparison.agreement[i, j].isfinite()
    ]
    if not pairs:
        return "none is known."
    (high, most), (low, least) = max(pairs), min(pairs)
    return f"most alike are {most} ({high:.2f}), least {least} ({low:.2f})."


def _ends(found: ComparisonReport) -> tuple[Tensor, Tensor, Tensor]:
    """Means and ends of their intervals, ``(G, M, C)``; correct images first, which are blue everywhere."""
    shape = len(found.groups), len(found.comparison.methods), len(found.comparison.columns)
    rows = [row for group in found.groups for row in found.tables[group]]
    mean, low, high = (
        torch.tensor([row[end] for row in rows], dtype=torch.float64).reshape(shape) for end in ("mean", "low", "high")
    )
    return mean, low, high
