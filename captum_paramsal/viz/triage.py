"""Which filters are guilty of which mistakes: filters by groups of mistakes, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.filters import FilterIndex
from captum_paramsal.viz.inputs import Values, as_values
from captum_paramsal.viz.matrix import draw_matrix, rounded, write_numbers
from captum_paramsal.viz.style import new_axes, styled

_HEAT = "inferno"


def triage_plot(
    scores: Values,
    filters: FilterIndex,
    ax: Axes | None = None,
    *,
    names: Sequence[str] | None = None,
    k: int = 3,
    title: str = "",
) -> Axes:
    """Draw the filters that stand out in sets of mistakes, from the input to the output of the network.

    A filter that is bright in one column alone belongs to one kind of mistake; one that is bright in many may be behind
    all of them.

    Args:
        scores: ``(G, F)``, such as ``Triage.saliency.score``: a row for each set.
        filters: What the F scores belong to.
        ax: Where to draw; by default on a new figure.
        names: Of the sets; by default "all" for the first, as a triage has them, and "0", "1", ... for the groups.
        k: Filters with the highest scores of each set that are drawn, for all sets.
        title: Over the plot.

    Returns:
        The axes, with the score in each cell. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: Scores, filters and names that do not go together, or a ``k`` below 1.

    >>> ax = triage_plot(torch.tensor([[0.1, 2.0, 0.0], [0.0, 1.0, 3.0]]), FilterIndex({"conv": 3}), k=1)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['conv[1]', 'conv[2]']
    """
    values = as_values(scores).double()
    if values.ndim != 2 or not len(values) or values.shape[1] != len(filters) or k < 1:
        message = f"Expected scores (sets, {len(filters)}) and k of at least 1, got {tuple(values.shape)} and {k}."
        raise InputError(message)
    columns = ["all", *map(str, range(len(values) - 1))] if names is None else list(names)
    if len(columns) != len(values):
        message = f"Expected {len(values)} names, one for each set, got {len(columns)}."
        raise InputError(message)
    values = values.where(values.isfinite(), torch.nan)
    rows = _highest(values, k)
    shown = values[:, rows].T
    largest = float(shown.nan_to_num().max())
    largest = largest if largest > 0 else 1.0
    with styled():
        axes = new_axes(3.2 + 0.42 * len(columns), 1.3 + 0.2 * len(rows)) if ax is None else ax
        labels = [str(filters[row]) for row in rows]
        draw_matrix(axes, shown, _HEAT, (0, largest), columns=columns, rows=labels, slanted=False, label="score")
        axes.set(xlabel="mistakes: all, and group by group" if names is None else "")
        digits = 2 if largest < 1 else 1 if largest < 100 else 0
        words = [[rounded(value, digits) for value in scores] for scores in shown.tolist()]
        write_numbers(axes, words, (shown / largest).clamp(0, 1), _HEAT)
        _part_layers(axes, [filters[row].layer for row in rows])
        axes.set_title(title)
    return axes


def _highest(values: Tensor, k: int) -> list[int]:
    """Columns of the filters that are among the k highest of some set, in the order of the network."""
    ranked = values.nan_to_num(nan=-torch.inf).argsort(dim=1, descending=True, stable=True)
    return sorted({*ranked[:, :k].flatten().tolist()})


def _part_layers(axes: Axes, layers: Sequence[str]) -> None:
    """A line between the filters of different layers."""
    for place in range(1, len(layers)):
        if layers[place] != layers[place - 1]:
            axes.axhline(place, color="#808080", linewidth=1.2)
