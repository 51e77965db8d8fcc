"""Numbers as a matrix of coloured cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import Formatter
from torch import Tensor

from captum_paramsal.viz.inputs import literal

UNKNOWN = "#9aa0a8"
"""Grey, which is no shade of the colour maps."""
_BRIGHT = 0.5


def draw_matrix(
    axes: Axes,
    values: Tensor,
    colors: str,
    limits: tuple[float, float],
    *,
    columns: Sequence[str],
    rows: Sequence[str],
    slanted: bool = True,
    **color_bar: Any,
) -> None:
    """Draw a cell for each number, and the names of rows and columns beside them.

    Args:
        axes: Where to draw.
        values: ``(R, C)``; what is not finite is grey.
        colors: Name of a colour map.
        limits: What has the first and the last colour.
        columns: C names.
        rows: R names, from top to bottom.
        slanted: Whether the names of the columns are.
        **color_bar: Of the colour bar, its ``label`` for one.
    """
    shades = mpl.colormaps[colors].with_extremes(bad=UNKNOWN)
    low, high = limits
    drawn = axes.pcolormesh(values.where(values.isfinite(), float("nan")).numpy(), cmap=shades, vmin=low, vmax=high)
    axes.invert_yaxis()
    turned: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks([number + 0.5 for number in range(len(columns))], [literal(name) for name in columns], **turned)
    axes.set_yticks([number + 0.5 for number in range(len(rows))], [literal(name) for name in rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.02, **color_bar)


def write_numbers(
    axes: Axes, words: Sequence[Sequence[str]], shares: Tensor, colors: str, *, fontsize: float = 7
) -> None:
    """Write into the cells of a matrix, dark on bright ones and bright on dark ones.

    Args:
        axes: Where the matrix is.
        words: R rows of C; nothing is written for an empty one.
        shares: Where each cell is on the scale of colours, ``(R, C)`` in [0, 1]; NaN for a grey one.
        colors: Name of the colour map.
        fontsize: In points.
    """
    shades = mpl.colormaps[colors].with_extremes(bad=UNKNOWN)
    for row, texts in enumerate(words):
        for column, text in enumerate(texts):
            if not text:
                continue
            red, green, blue, _ = shades(float(shares[row, column]))
            # Not the ink of the page, which turns bright on a dark one: cells keep their colours.
            color = "#000000" if 0.3 * red + 0.59 * green + 0.11 * blue > _BRIGHT else "#ffffff"
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=fontsize, color=color)


def rounded(value: float, digits: int) -> str:
    """A number with so many digits and the minus of the colour bar; nothing for NaN.

    >>> rounded(-0.004, 2), rounded(-0.25, 2), rounded(float("nan"), 2)
    ('0.00', '\N{MINUS SIGN}0.25', '')
    """
    # Adding 0 makes a rounded -0 plain.
    return "" if value != value else Formatter.fix_minus(f"{round(value, digits) + 0.0:.{digits}f}")  # noqa: PLR0124 -- NaN is not itself
