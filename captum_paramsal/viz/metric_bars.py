"""How methods score: means with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import literal
from captum_paramsal.viz.style import INK, PALETTE, new_axes, styled

_MARKERS = "osD^v"
_WIDE = 30.0
"""Times the smallest that the largest mean must be, for a logarithmic axis."""
_DIRECTION = {"higher": "higher is better \N{RIGHTWARDS ARROW}", "lower": "\N{LEFTWARDS ARROW} lower is better"}


def metric_bars(
    means: ArrayLike | Tensor,
    low: ArrayLike | Tensor,
    high: ArrayLike | Tensor,
    methods: Sequence[str],
    ax: Axes | None = None,
    *,
    groups: Sequence[str] = (),
    unit: str = "",
    better: str = "",
    title: str = "",
) -> Axes:
    """Draw the mean score of each method, with its interval, by one metric.

    Methods are told apart by their line, not by colour, so there may be any number of them. The axis is logarithmic
    where all means are positive and the largest is more than 30 times the smallest; dots stand for bars then, since
    there is no zero for them to start from.

    Args:
        means: ``(M,)``, or ``(G, M)`` for groups of images; NaN and infinity are said in words.
        low: Lower ends of the intervals, the same shape; NaN for none.
        high: Upper ends.
        methods: M names, from top to bottom.
        ax: Where to draw; by default on a new figure.
        groups: G names, for the legend.
        unit: Of the scores.
        better: "higher", "lower", or "" where neither is.
        title: Over the plot.

    Returns:
        The axes. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: Numbers and names that do not go together.

    >>> from torch import tensor
    >>> ax = metric_bars(tensor([0.5, -1.0]), tensor([0.4, -2.0]), tensor([0.6, 0.0]), ["ours", "theirs"])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['ours', 'theirs']
    """
    given = (torch.as_tensor(part).detach().cpu().double() for part in (means, low, high))
    parts = [part.where(part.isfinite(), torch.nan) for part in given]
    rows = [part.reshape(-1, part.shape[-1]) if part.ndim else part.reshape(1, 1) for part in parts]
    names = list(groups) or [""] * len(rows[0])
    if not methods or len({part.shape for part in parts}) > 1 or rows[0].shape != (len(names), len(methods)):
        got = ", ".join(str(tuple(part.shape)) for part in parts)
        message = f"Expected three times ({len(names)}, {len(methods)}), groups and methods, got {got}."
        raise InputError(message)
    with styled():
        axes = new_axes(4.6, 1.1 + (0.16 + 0.14 * len(names)) * len(methods)) if ax is None else ax
        known = rows[0][rows[0].isfinite()]
        wide = len(known) > 1 and float(known.min()) > 0 and bool(known.max() > _WIDE * known.min())
        if wide:
            axes.set_xscale("log")
        for group, name in enumerate(names):
            _draw_group(axes, [part[group] for part in rows], (group, len(names)), name, bars=not wide)
        for row, method_known in enumerate(rows[0].isfinite().any(dim=0).tolist()):
            if not method_known:
                place = axes.get_yaxis_transform()
                axes.text(0.01, row, "no score", transform=place, va="center", fontsize=8, fontstyle="italic")
        _finish(axes, methods, unit, better, title, legend=any(names))
    return axes


def metric_panels(
    means: ArrayLike | Tensor,
    low: ArrayLike | Tensor,
    high: ArrayLike | Tensor,
    methods: Sequence[str],
    metrics: Sequence[str],
    *,
    groups: Sequence[str] = (),
    units: Sequence[str] | None = None,
    better: Sequence[str] | None = None,
) -> tuple[Axes, ...]:
    """:func:`metric_bars` of several metrics on one figure, three beside each other, with the names on the left.

    Args:
        means: ``(M, C)``, or ``(G, M, C)`` for groups of images.
        low: Lower ends of the intervals, the same shape.
        high: Upper ends.
        methods: M names.
        metrics: C names.
        groups: G names.
        units: C units; none by default.
        better: C times "higher", "lower" or "".

    Returns:
        C axes. Nothing is shown; ``axes[0].figure.savefig`` writes a file.

    Raises:
        InputError: No metric, or numbers and names that do not go together.
    """
    parts = [torch.as_tensor(part) for part in (means, low, high)]
    wrong = [tuple(part.shape) for part in parts if not part.ndim or part.shape[-1] != len(metrics)]
    if not metrics or wrong:
        message = (
            f"Expected scores of {len(metrics)} metrics, at least one, got {(wrong or [tuple(parts[0].shape)])[0]}."
        )
        raise InputError(message)
    across = min(3, len(metrics))
    down = ceil(len(metrics) / across)
    with styled():
        figure = Figure(figsize=(4.4 * across, down * (1.2 + (0.16 + 0.12 * max(1, len(groups))) * len(methods))))
        FigureCanvasAgg(figure)
        grid = figure.subplots(down, across, squeeze=False).flatten().tolist()
    for unused in grid[len(metrics) :]:
        unused.remove()
    for number, metric in enumerate(metrics):
        metric_bars(
            parts[0][..., number],
            parts[1][..., number],
            parts[2][..., number],
            methods,
            grid[number],
            groups=groups,
            unit="" if units is None else units[number],
            better="" if better is None else better[number],
            title=metric,
        )
        # The lines of a row are on one height, and drawing names takes most of the time of a figure.
        grid[number].tick_params(labelleft=number % across == 0)
    return tuple(grid[: len(metrics)])


def _draw_group(axes: Axes, scores: Sequence[Tensor], share: tuple[int, int], name: str, *, bars: bool) -> None:
    """One group's share of every method's line: means with their ends, each ``(M,)``."""
    means, low, high = scores
    group, thickness = share[0], 0.7 / share[1]
    color, marker = PALETTE[group % len(PALETTE)], _MARKERS[group % len(_MARKERS)]
    places = torch.arange(len(means), dtype=torch.float64) - 0.35 + thickness * (group + 0.5)
    if bars:
        axes.barh(places.tolist(), means.nan_to_num().tolist(), thickness * 0.9, color=color, alpha=0.35)
    # All intervals as one line with gaps: a line for each would take most of the time of a figure.
    ends = torch.stack([low, high, torch.full_like(low, torch.nan)], dim=1).flatten()
    axes.plot(ends, places.repeat_interleave(3), color=color, linewidth=1.8, solid_capstyle="butt")
    axes.plot(means, places, marker, color=color, markersize=4.5, label=name or None)


def _finish(axes: Axes, methods: Sequence[str], unit: str, better: str, title: str, *, legend: bool) -> None:
    axes.set_yticks(range(len(methods)), [literal(method) for method in methods])
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=INK, alpha=0.15, linewidth=0.6)
    axes.set_axisbelow(True)
    if axes.get_xscale() == "linear":
        axes.axvline(0, color=INK, linewidth=0.8)
    # One below the other: side by side they may be wider than the plot.
    axes.set_xlabel("\n".join(part for part in (unit, _DIRECTION.get(better, "")) if part))
    if legend:
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.2, fontsize=8)
    axes.set_title(title, pad=20 if legend else None)
