"""Which methods order the pixels alike: a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.style import new_axes, styled

_COLORS, _UNKNOWN = "PuOr_r", "#9aa0a8"
_MOST_NUMBERS = 20
_BRIGHT = 0.5


def agreement_plot(
    agreement: ArrayLike | Tensor, methods: Sequence[str], ax: Axes | None = None, *, title: str = ""
) -> Axes:
    """Draw how alike methods are, two by two.

    Args:
        agreement: Correlations ``(M, M)`` from -1 to 1; NaN, where nothing is known, is grey.
        methods: M names.
        ax: Where to draw; by default on a new figure.
        title: Over the matrix.

    Returns:
        The axes, with the number in each cell up to 20 methods. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: No square matrix, or not as many names.

    >>> from torch import tensor
    >>> ax = agreement_plot(tensor([[1.0, -0.25], [-0.25, 1.0]]), ["ours", "theirs"])
    >>> [text.get_text() for text in ax.texts]
    ['1.00', '\N{MINUS SIGN}0.25', '\N{MINUS SIGN}0.25', '1.00']
    """
    count, values = len(methods), torch.as_tensor(agreement).detach().cpu().double()
    if not count or tuple(values.shape) != (count, count):
        message = f"Expected a matrix ({count}, {count}) for {count} methods, got {tuple(values.shape)}."
        raise InputError(message)
    shades = mpl.colormaps[_COLORS].with_extremes(bad=_UNKNOWN)
    with styled():
        axes = new_axes(2.9 + 0.44 * count, 1.9 + 0.36 * count) if ax is None else ax
        drawn = axes.pcolormesh(values.where(values.isfinite(), float("nan")).numpy(), cmap=shades, vmin=-1, vmax=1)
        axes.invert_yaxis()
        places = [number + 0.5 for number in range(count)]
        axes.set_xticks(places, list(methods), rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(places, list(methods))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if count <= _MOST_NUMBERS:
            _write_numbers(axes, values, shades)
        axes.figure.colorbar(drawn, ax=axes, label="rank correlation", fraction=0.05, pad=0.02)
        axes.set_title(title)
    return axes


def _write_numbers(axes: Axes, values: Tensor, shades: mpl.colors.Colormap) -> None:
    for row, numbers in enumerate(values.tolist()):
        for column, value in enumerate(numbers):
            if value != value:  # noqa: PLR0124 -- NaN is not itself
                continue
            red, green, blue, _ = shades((value + 1) / 2)
            # Not the ink of the page, which turns bright on a dark one: cells keep their colours.
            color = "#000000" if 0.3 * red + 0.59 * green + 0.11 * blue > _BRIGHT else "#ffffff"
            # Adding 0 makes a rounded -0 plain; the minus is the one of the colour bar.
            words = f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")
            axes.text(column + 0.5, row + 0.5, words, ha="center", va="center", fontsize=7, color=color)
