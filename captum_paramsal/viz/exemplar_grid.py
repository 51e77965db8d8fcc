"""Filters beside what they see in the pictures in which they are most active."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.reference import Exemplars
from captum_paramsal.viz.inputs import NamesOfClasses, as_values, class_label, literal
from captum_paramsal.viz.placing import place_picture
from captum_paramsal.viz.signed_maps import presentable
from captum_paramsal.viz.style import INK, PALETTE, new_axes, styled

_SIDE = 0.95
_CAPTION = 0.24
"""Height of the words under a crop, as a share of its side."""
_HEAD = 2.6
"""Width of the words before a row, likewise."""
_LINE = 0.2
_LONGEST = 14
_LONGEST_HEAD = 30


def exemplar_grid(
    rows: Sequence[Exemplars],
    crops: Sequence[Sequence[ArrayLike | Tensor]],
    ax: Axes | None = None,
    *,
    names: NamesOfClasses = None,
    level: float = 0.01,
    title: str = "",
) -> Axes:
    """Draw what several filters see where they are most active, a row for each filter, the most active first.

    Args:
        rows: Exemplars of each filter, :meth:`captum_paramsal.Reference.exemplars`.
        crops: For each filter a crop ``(C, h, w)`` of each exemplar, or of the first ones, such as
            :class:`captum_paramsal.reference.PictureCrops` cuts; what is not in [0, 1] is stretched to it. All are
            drawn in one size.
        ax: Where to draw; by default on a new figure.
        names: Of the classes, by number.
        level: Of the test that a class must pass for a filter to be named after it,
            :meth:`captum_paramsal.reference.Exemplars.short_name`.
        title: Over the grid.

    Returns:
        The axes. Before each row stand the filter, how often it is active, and its short name where there is one; under
        each crop its class, in blue where it is the one that the filter is named after. Nothing is shown;
        ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: No filter, not a list of crops for each, or more crops than exemplars.

    >>> import torch
    >>> from captum_paramsal import Filter
    >>> two = Exemplars(Filter("conv", 3), (4, 7), ("",) * 2, (1, 0), (3.0, 2.5), ((0, 0),) * 2, 0.5, {0: 5, 1: 5})
    >>> ax = exemplar_grid([two], [torch.rand(2, 3, 5, 5)], names=["cat", "dog"])
    >>> [text.get_text() for text in ax.texts]
    ['conv[3]', 'active in 50 %', 'dog', 'cat']
    """
    shown = [[presentable(as_values(crop)) for crop in of_filter] for of_filter in crops]
    _require_match(rows, shown)
    columns = max(map(len, shown))
    with styled():
        width, height = _SIDE * (columns + _HEAD), _SIDE * (1 + _CAPTION) * len(rows)
        axes = new_axes(width, height + (0.35 if title else 0.1)) if ax is None else ax
        for number, (exemplars, pictures) in enumerate(zip(rows, shown, strict=True)):
            top, short = number * (1 + _CAPTION), exemplars.short_name(names, level=level)
            _head(axes, top, exemplars, short)
            named = None if short is None else exemplars.class_shares()[0].label
            for column, (picture, label) in enumerate(zip(pictures, exemplars.labels, strict=False)):
                place_picture(axes, picture, top, column)
                words = "" if label < 0 else _cut(class_label(names, label), _LONGEST)
                color = PALETTE[0] if label == named else INK
                axes.text(column + 0.5, top + 1, words, ha="center", va="top", fontsize=7, color=color)
        axes.set_xlim(-_HEAD, columns)
        axes.set_ylim(len(rows) * (1 + _CAPTION), 0)
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_title(title)
    return axes


def _head(axes: Axes, top: float, exemplars: Exemplars, short: str | None) -> None:
    """The words before a row."""
    lines = [
        (_cut(literal(str(exemplars.filter)), _LONGEST_HEAD), INK),
        (f"active in {exemplars.active * 100:.0f} %", INK),
        *([] if short is None else [(_cut(literal(short), _LONGEST_HEAD), PALETTE[0])]),
    ]
    for number, (words, color) in enumerate(lines):
        axes.text(-_HEAD + 0.05, top + 0.12 + number * _LINE, words, va="top", fontsize=8, color=color)


def _cut(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _require_match(rows: Sequence[Exemplars], crops: Sequence[Sequence[Tensor]]) -> None:
    if not rows or len(rows) != len(crops):
        message = (
            f"Expected exemplars of at least one filter and a list of crops for each, got {len(rows)} and {len(crops)}."
        )
        raise InputError(message)
    for exemplars, pictures in zip(rows, crops, strict=True):
        if not 0 < len(pictures) <= len(exemplars):
            message = (
                f"Expected from 1 to {len(exemplars)} crops for {exemplars.filter}, one of each exemplar, got "
                f"{len(pictures)}."
            )
            raise InputError(message)
