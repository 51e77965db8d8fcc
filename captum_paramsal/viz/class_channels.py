"""Which channels a class relies on: the matrix of classes and channels as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import NamesOfClasses, Values, as_values, class_label
from captum_paramsal.viz.style import new_axes, styled

_HEAT, _UNKNOWN = "inferno", "#9aa0a8"
"""From black to yellow it rises evenly in brightness; grey is no shade of it."""
_MOST_TICKS = 40
_EVERY_COLUMN = 600
"""Channels up to which every one has a column of its own in the picture; beyond, neighbours are averaged."""


def channel_order(normalized: Values) -> Tensor:
    """Channels by the class that they are most evidence for, and for each class the strongest first.

    Args:
        normalized: ``(C, K)``; rows of NaN are classes of which nothing is known.

    Returns:
        Numbers of the channels, ``(K,)`` int64.

    >>> channel_order(torch.tensor([[0.1, 1.0, 0.7], [1.0, 0.0, 0.2]])).tolist()
    [1, 2, 0]
    """
    heights = as_values(normalized).double().nan_to_num(nan=-torch.inf)
    best, owner = heights.max(dim=0)
    # Two stable sorts: first by strength, then by class.
    by_strength = best.argsort(descending=True, stable=True)
    return by_strength[owner[by_strength].argsort(stable=True)]


def class_channel_plot(
    normalized: Values,
    ax: Axes | None = None,
    *,
    names: NamesOfClasses = None,
    classes: Sequence[int] | None = None,
    order: bool = True,
    title: str = "",
) -> Axes:
    """Draw how much each class relies on each channel, as the paper does.

    With channels in order, a class that relies on channels of its own shows as a bright stretch in its row alone; what
    is bright in several rows is shared by these classes.

    Args:
        normalized: ``(C, K)``, such as ``Diagnosis.normalized``: each class from its weakest channel, 0, to its
            strongest, 1. A row of NaN, a class without samples, is drawn in grey.
        ax: Where to draw; by default on a new figure.
        names: Of the classes, by number.
        classes: Numbers of those to draw, from top to bottom; all by default.
        order: Put the channels into the order of :func:`channel_order`; otherwise they keep their numbers.
        title: Over the plot.

    Returns:
        The axes. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: No matrix, or classes that it does not have.

    References:
        Feng et al., *Model Doctor: A Simple Gradient Aggregation Strategy for Diagnosing and Treating CNN Classifiers*,
        arXiv 2112.04934, figure 2.

    >>> ax = class_channel_plot(torch.rand(3, 8), names=["cat", "dog", "eel"])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['cat', 'dog', 'eel']
    """
    matrix = as_values(normalized).double()
    rows = _rows(matrix, classes)
    shown = matrix[rows]
    columns = channel_order(shown) if order else torch.arange(shown.shape[1])
    with styled():
        axes = new_axes(9.0, 1.1 + 0.24 * max(3, len(rows))) if ax is None else ax
        heat = mpl.colormaps[_HEAT].with_extremes(bad=_UNKNOWN)
        drawn = axes.imshow(
            shown[:, columns].numpy(),
            cmap=heat,
            vmin=0,
            vmax=1,
            aspect="auto",
            interpolation="none" if len(columns) <= _EVERY_COLUMN else "antialiased",
        )
        axes.set_yticks(range(len(rows)), [class_label(names, number) for number in rows])
        axes.tick_params(axis="y", length=0)
        _label_channels(axes, columns, order=order)
        axes.figure.colorbar(drawn, ax=axes, label="correlation, 0 to 1 in each class", fraction=0.04, pad=0.02)
        axes.set_title(title)
    return axes


def _label_channels(axes: Axes, columns: Tensor, *, order: bool) -> None:
    if len(columns) <= _MOST_TICKS:
        axes.set_xticks(range(len(columns)), [str(number) for number in columns.tolist()])
    elif order:
        axes.set_xticks([])
    axes.set_xlabel("channel, by the class that it is most evidence for" if order else "channel")


def _rows(normalized: Tensor, classes: Sequence[int] | None) -> list[int]:
    if normalized.ndim != 2 or 0 in normalized.shape:
        message = f"Expected a matrix of classes and channels (C, K), got {tuple(normalized.shape)}."
        raise InputError(message)
    rows = list(range(len(normalized)) if classes is None else classes)
    outside = [number for number in rows if not 0 <= number < len(normalized)]
    if outside or not rows:
        message = f"Expected classes from 0 to {len(normalized) - 1}, got {outside[0] if outside else 'none'}."
        raise InputError(message)
    return rows
