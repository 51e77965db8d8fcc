"""How differently the saliencies of filters are distributed: over the network's stages, and in their upper tails."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import Values, as_values, literal
from captum_paramsal.viz.style import INK, PALETTE, new_axes, styled

_BANDS = ((0.05, 0.12, "90 % of the filters"), (0.25, 0.22, "half of the filters"))
"""Lower quantile, opacity and name of each band."""
_POINTS = 300
_APART = 0.16
_LETTER = 0.085
"""Width of a letter under a plot, in inches."""


def score_distribution_plot(
    values: Values,
    mean: Values,
    std: Values,
    count: int,
    ax: Axes | None = None,
    *,
    marks: Sequence[int] = (),
    labels: Sequence[str] = (),
    title: str = "",
) -> Axes:
    """Draw how often filters reach so many standard deviations above their mean, beside the normal distribution.

    If all filters were distributed alike up to place and width, the bands would have no width, and z-scores would rank
    as peaks over threshold do; if they were normal, all would lie on the dashed line.

    Args:
        values: The largest values of each of F filters over the reference set, or all of them, ``(F, K)`` in any order,
            such as ``reference.tail.values``; entries that are -inf are absent.
        mean: Of each filter over the reference set, ``(F,)``.
        std: Standard deviation, ``(F,)``; filters with 0 are left out.
        count: Images in the reference set.
        ax: Where to draw; by default on a new figure.
        marks: Numbers of filters to draw one by one.
        labels: A name for each of them.
        title: Over the plot.

    Returns:
        The axes. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: Values, means and deviations of different filters, values that are not finite, no filter that
            varies, fewer images than values, marks that are no living filter, or not as many labels.

    References:
        Wang and Sato, *Understanding Parameter Saliency via Extreme Value Theory*, arXiv 2310.17951, figure 1.

    >>> _ = torch.manual_seed(0)
    >>> rows = torch.randn(50, 200)
    >>> ax = score_distribution_plot(rows, rows.mean(dim=1), rows.std(dim=1), 200, marks=[3], labels=["conv[3]"])
    >>> [line.get_label() for line in ax.lines]
    ['normal distribution', 'median filter', 'conv[3]']
    """
    distances, living = _distances(values, mean, std, count)
    numbers = [int(mark) for mark in marks]
    if any(mark not in living for mark in numbers) or (labels and len(labels) != len(numbers)):
        message = (
            f"Expected marks of filters that vary, and a label for each or none, got {numbers} and {list(labels)}."
        )
        raise InputError(message)
    ranks = _spread(distances.shape[1])
    shares = (ranks + 1).double() / count
    shown = distances[:, ranks]
    with styled():
        axes = new_axes(6.4, 4.2) if ax is None else ax
        for low, opacity, name in _BANDS:
            left, right = shown.nanquantile(torch.tensor([low, 1 - low], dtype=torch.float64), dim=0).numpy()
            axes.fill_betweenx(shares.numpy(), left, right, color=PALETTE[0], alpha=opacity, linewidth=0, label=name)
        axes.plot(-torch.special.ndtri(shares).numpy(), shares.numpy(), "--", color=INK, label="normal distribution")
        axes.plot(shown.nanmedian(dim=0).values.numpy(), shares.numpy(), color=PALETTE[0], label="median filter")
        for place, mark in enumerate(numbers):
            name = literal(labels[place]) if labels else f"filter {mark}"
            color = PALETTE[1 + place % (len(PALETTE) - 1)]
            axes.plot(shown[living.index(mark)].numpy(), shares.numpy(), color=color, label=name)
        axes.set_yscale("log")
        axes.set_xlabel("standard deviations above the filter's mean")
        axes.set_ylabel("share of images at least as high")
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, fontsize=8, borderaxespad=0.2)
        axes.set_title(title, pad=42 if title else None)
    return axes


def stage_plot(mean: Values, std: Values, stages: Sequence[str], ax: Axes | None = None, *, title: str = "") -> Axes:
    """Draw mean and standard deviation of the filters' saliency by stage of the network.

    Args:
        mean: Lower quartile, median and upper quartile over the filters of each of S stages, ``(S, 3)``, such as
            ``reference.by_stage().mean``; a stage of NaN stays empty.
        std: The same of the standard deviations, ``(S, 3)``.
        stages: S names, from the input to the output.
        ax: Where to draw; by default on a new figure.
        title: Over the plot.

    Returns:
        The axes, with a logarithmic scale.

    Raises:
        InputError: Not three numbers for each stage, or some that are out of order.

    >>> ax = stage_plot([[1.0, 2.0, 3.0]], [[2.0, 4.0, 8.0]], ["conv1"])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['conv1']
    """
    parts = {"mean": as_values(mean).double(), "standard deviation": as_values(std).double()}
    for name, rows in parts.items():
        if rows.shape != (len(stages), 3) or not len(stages) or bool((rows.diff(dim=1) < 0).any()):
            message = (
                f"Expected quartiles ({len(stages)}, 3) of the {name}, rising, for at least one stage, got "
                f"{tuple(rows.shape)}."
            )
            raise InputError(message)
    names = [literal(name) for name in stages]
    places = torch.arange(len(names)).double()
    with styled():
        width = max(4.2, 1.6 + 0.42 * len(names))
        upright = _LETTER * max(map(len, names)) * len(names) > width - 1
        axes = new_axes(width, 3.8 + upright) if ax is None else ax
        for place, (name, rows) in enumerate(parts.items()):
            low, middle, high = rows.T.numpy()
            x = (places + (2 * place - 1) * _APART).numpy()
            ends = [middle - low, high - middle]
            axes.errorbar(x, middle, yerr=ends, fmt="os"[place], color=PALETTE[place], markersize=4, label=name)
        axes.set_yscale("log")
        axes.set_xticks(places.tolist(), names, rotation=90 if upright else 0)
        axes.set_xlabel("stage, from the input to the output")
        axes.set_ylabel("mean absolute gradient")
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
        axes.set_title(title, pad=24 if title else None)
    return axes


def _distances(values: Values, mean: Values, std: Values, count: int) -> tuple[Tensor, list[int]]:
    """Distances of the living filters from their means ``(L, K)``, falling, NaN where absent; and their numbers."""
    rows, centre, width = (as_values(part).double() for part in (values, mean, std))
    if rows.ndim != 2 or not rows.numel() or {tuple(centre.shape), tuple(width.shape)} != {(len(rows),)}:
        message = (
            f"Expected values (F, K) with mean and deviation (F,) of each filter, got {tuple(rows.shape)}, "
            f"{tuple(centre.shape)} and {tuple(width.shape)}."
        )
        raise InputError(message)
    there = rows != -torch.inf
    if not bool(torch.cat([rows[there], centre, width]).isfinite().all()) or rows.shape[1] > count:
        message = f"Expected finite values of at most {count} images, or -inf where absent, got {tuple(rows.shape)}."
        raise InputError(message)
    living = (width > 0).nonzero()[:, 0]
    if not len(living):
        message = f"Expected a filter that varies, got {len(rows)} with a deviation of 0."
        raise InputError(message)
    distances = (rows - centre[:, None])[living] / width[living, None]
    ordered = distances.sort(dim=1, descending=True).values
    return ordered.where(ordered > -torch.inf, torch.nan), living.tolist()


def _spread(count: int) -> Tensor:
    """All ranks from 0, or some hundred of them, dense among the first ones."""
    if count <= _POINTS:
        return torch.arange(count)
    ranks: Tensor = (torch.logspace(0, 1, _POINTS, base=count, dtype=torch.float64).round().long() - 1).unique()
    return ranks
