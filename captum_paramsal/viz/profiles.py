"""Saliency profiles in the papers' form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.filters import Filter, FilterIndex
from captum_paramsal.functional import profile_curve
from captum_paramsal.viz.inputs import Values, as_values, literal
from captum_paramsal.viz.style import INK, PALETTE, new_axes, styled

_DASHES = ("-", "--", ":", "-.")
_MOST_TICKS = 32
_LONGEST = 24
_FITTING = 125
"""Letters that fit side by side under a figure of the usual width."""


def profile_plot(
    scores: Values,
    filters: FilterIndex,
    ax: Axes | None = None,
    *,
    labels: Sequence[str] = (),
    colors: Sequence[str] = PALETTE,
    marks: Sequence[Filter] = (),
    ylabel: str = "saliency (standard deviations)",
    title: str = "",
) -> Axes:
    """Draw saliency profiles: each layer sorted, layers shallow to deep, equal width for each layer.

    Args:
        scores: One profile ``(F,)``, or K of them ``(K, F)`` to compare.
        filters: What the scores belong to.
        ax: Where to draw; by default on a new figure.
        labels: A name for each profile, shown in a legend.
        colors: Lines beyond the last colour begin again with the first one, in other dashes.
        marks: Filters to point out on the first profile, such as its highest.
        ylabel: What the scores are, with their unit.
        title: Over the plot.

    Returns:
        The axes. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: Scores of another shape, or not as many labels as profiles.

    References:
        Levin et al., arXiv 2108.01335, figures 1 and 2.

    >>> import torch
    >>> ax = profile_plot(torch.tensor([1.0, 2.0, 7.0]), FilterIndex({"conv1": 2, "conv2": 1}))
    >>> ax.lines[0].get_ydata().tolist()
    [2.0, 1.0, 7.0]
    """
    values = as_values(scores)
    curves = values.unsqueeze(0) if values.ndim == 1 else values
    if curves.ndim != 2 or (labels and len(labels) != len(curves)):
        message = (
            f"Expected scores (F,) or (K, F) and no label or one per profile, got {tuple(values.shape)} "
            f"and {len(labels)} labels."
        )
        raise InputError(message)
    with styled():
        axes = new_axes() if ax is None else ax
        x, heights = profile_curve(curves, filters)
        _draw_layers(axes, filters)
        for k, y in enumerate(heights):
            color, dashes = colors[k % len(colors)], _DASHES[k // len(colors) % len(_DASHES)]
            axes.plot(
                x.numpy(), y.numpy(), dashes, color=color, label=literal(labels[k]) if labels else f"_profile {k}"
            )
        if marks:
            _draw_marks(axes, curves[0], filters, marks)
        axes.axhline(0.0, color=INK, linewidth=0.6, zorder=1.5)
        axes.set_ylabel(ylabel)
        axes.set_title(title)
        if labels:
            # Over the plot, where no curve is, and beside the title if there is one.
            corner = (1.0, 1.0) if title else (0.0, 1.0)
            place: Literal["lower right", "lower left"] = "lower right" if title else "lower left"
            axes.legend(loc=place, bbox_to_anchor=corner, ncols=4, borderaxespad=0.2)
    return axes


def _draw_layers(axes: Axes, filters: FilterIndex) -> None:
    count = len(filters.layers)
    for place in range(1, count, 2):
        axes.axvspan(place, place + 1, color=INK, alpha=0.05, linewidth=0)
    step = -(-count // _MOST_TICKS)
    shown = range(0, count, step)
    names = [_short(filters.layers[place]) for place in shown]
    upright = max(map(len, names)) * len(names) > _FITTING
    axes.set_xticks([place + 0.5 for place in shown], [literal(name) for name in names], rotation=90 if upright else 0)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(0, count)
    axes.set_xlabel("layer, shallow to deep; the filters of each from highest to lowest")


def _draw_marks(axes: Axes, profile: Tensor, filters: FilterIndex, marks: Sequence[Filter]) -> None:
    places, heights = [], []
    for mark in marks:
        column, layer = filters.index(mark), filters.slice(mark.layer)
        rank = profile[layer].argsort(descending=True, stable=True).tolist().index(column - layer.start)
        places.append(filters.layers.index(mark.layer) + (rank + 0.5) / filters.counts[mark.layer])
        heights.append(float(profile[column]))
    axes.plot(places, heights, "o", color=PALETTE[1], markersize=4, label="_marks", zorder=3)


def _short(name: str) -> str:
    """A layer's name with letters left out where it is too long to stand under a plot; numbers tell blocks apart.

    >>> _short("features.denseblock1.denselayer12.conv2")
    'fea….den…1.dens…12.conv2'
    """
    *parts, last = name.split(".")
    stems = [part.rstrip("0123456789") for part in parts]
    kept = [len(stem) for stem in stems]

    def shown() -> str:
        letters = (stem if count == len(stem) else f"{stem[:count]}…" for stem, count in zip(stems, kept, strict=True))
        numbers = (part[len(stem) :] for part, stem in zip(parts, stems, strict=True))
        return ".".join([*map("".join, zip(letters, numbers, strict=True)), last])

    while len(shown()) > _LONGEST and max(kept, default=0) > 1:
        kept[kept.index(max(kept))] -= 1
    short, half = shown(), _LONGEST // 2
    return short if len(short) <= _LONGEST else f"{short[:half]}…{short[1 - half :]}"
