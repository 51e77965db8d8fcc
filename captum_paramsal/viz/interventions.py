"""What becomes of mistakes while more and more filters are changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from captum_paramsal.errors import InputError
from captum_paramsal.viz.style import PALETTE, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = ("-", "--", "-.", ":")


def intervention_plot(
    curves: ArrayLike,
    names: Sequence[str],
    measure: str = "",
    *,
    ax: Axes | None = None,
    legend: bool = True,
    at: Sequence[int] | None = None,
) -> Axes:
    """Means with intervals over the number of changed filters, one line a ranking.

    Args:
        curves: ``(A, 3, K + 1)``: mean, lower and upper end of A rankings with 0 to K filters changed; NaN is a gap.
        names: A names.
        measure: What is drawn, for the axis.
        ax: Where to draw; new axes by default.
        legend: Name the lines.
        at: Numbers of changed filters that the K + 1 columns are for; 0 to K by default.

    Returns:
        The axes.

    Raises:
        InputError: Numbers and names that do not go together.
    """
    values = np.asarray(curves, dtype=float)
    if values.ndim != 3 or values.shape[1] != 3 or len(values) != len(names):
        message = f"Expected curves (A, 3, K + 1) with A names, got {values.shape} with {len(names)} names."
        raise InputError(message)
    axes = new_axes(6.0, 3.6) if ax is None else ax
    filters = np.arange(values.shape[2]) if at is None else np.asarray(at)
    if filters.shape != values.shape[2:]:
        message = f"Expected `at` with a number for each of {values.shape[2]} columns, got {filters.shape}."
        raise InputError(message)
    for number, ((mean, low, high), name) in enumerate(zip(values, names, strict=True)):
        colour = PALETTE[number % len(PALETTE)]
        style = _LINES[number // len(PALETTE) % len(_LINES)]
        axes.plot(filters, mean, style, color=colour, label=name, lw=1.6)
        axes.fill_between(filters, low, high, color=colour, alpha=0.15, lw=0)
    axes.axhline(0, color="0.6", lw=0.8)
    axes.set_xlabel("changed filters")
    axes.set_ylabel(measure)
    if legend:
        axes.legend(frameon=False)
    return axes
