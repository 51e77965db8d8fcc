"""Mistakes beside their nearest neighbours: which images the same filters stand out in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import NamesOfClasses, Values, as_values, class_label
from captum_paramsal.viz.placing import place_picture
from captum_paramsal.viz.signed_maps import presentable
from captum_paramsal.viz.style import INK, PALETTE, new_axes, styled

_SIDE = 1.2
_CAPTION = 0.52
"""Height of the words under a picture, as a share of its side."""
_LINE = 0.16
_APART = 0.25
"""Width between an image and its neighbours, likewise."""
_LONGEST = 18


def neighbor_grid(
    pictures: Sequence[ArrayLike | Tensor] | Tensor,
    query: Sequence[int] | Tensor,
    neighbors: Values,
    similarity: Values,
    ax: Axes | None = None,
    *,
    labels: Values,
    predicted: Values,
    names: NamesOfClasses = None,
    title: str = "",
) -> Axes:
    """Draw images and the nearest neighbours of each, with true class, predicted class and similarity.

    Args:
        pictures: N of ``(C, H, W)``, of one size or several; what is not in [0, 1] is stretched to it.
        query: Places of Q images among the pictures.
        neighbors: Places of the k nearest of each, ``(Q, k)``, such as ``images`` of
            :func:`captum_paramsal.repair.neighbors`; -1 leaves a place empty.
        similarity: Of each, ``(Q, k)``.
        ax: Where to draw; by default on a new figure.
        labels: True classes of all pictures, ``(N,)``.
        predicted: Predicted classes, ``(N,)``.
        names: Of the classes, by number.
        title: Over the grid.

    Returns:
        The axes. A predicted class is blue where it is the true one, vermilion where it is not. Nothing is shown;
        ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: No image, places that no picture has, or not as many neighbours, similarities and classes.

    References:
        Levin et al., *Where do Models go Wrong?*, arXiv 2108.01335, figures 5, 12 and 13.

    >>> classes = {"labels": [0, 1, 0], "predicted": [1, 1, 1], "names": ["cat", "dog"]}
    >>> ax = neighbor_grid(torch.rand(3, 3, 8, 8), [0], [[2, 1]], [[0.9, 0.4]], **classes)
    >>> [text.get_text() for text in ax.texts[:5]]
    ['cat', 'as dog', 'cat', 'as dog', '0.90']
    """
    shown = [as_values(picture) for picture in pictures]
    asked = torch.as_tensor(query).reshape(-1)
    nearest, close = as_values(neighbors), as_values(similarity).double()
    true, seen = as_values(labels), as_values(predicted)
    _require_match(len(shown), asked, nearest, close, (true, seen))
    rows, columns = nearest.shape
    with styled():
        axes = new_axes(_SIDE * (columns + 1) + 0.8, _SIDE * (1 + _CAPTION) * rows + 0.5) if ax is None else ax
        for row, (place, others, values) in enumerate(
            zip(asked.tolist(), nearest.tolist(), close.tolist(), strict=True)
        ):
            top = row * (1 + _CAPTION)
            for column, (number, value) in enumerate([(place, None), *zip(others, values, strict=True)]):
                if number < 0:
                    continue
                left = column + _APART * (column > 0)
                place_picture(axes, presentable(shown[number]), top, left)
                label, taken_for = (class_label(names, int(classes[number])) for classes in (true, seen))
                color = PALETTE[0] if int(true[number]) == int(seen[number]) else PALETTE[1]
                lines = [(_cut(label), INK), (f"as {_cut(taken_for)}", color)]
                _caption(axes, left + 0.5, top + 1, lines if value is None else [*lines, (f"{value:.2f}", INK)])
        _frame(axes, rows, columns)
        axes.set_title(title)
    return axes


def _caption(axes: Axes, x: float, y: float, lines: Sequence[tuple[str, str]]) -> None:
    """Lines of text with their colours, one below the other."""
    for number, (words, color) in enumerate(lines):
        axes.text(x, y + number * _LINE, words, ha="center", va="top", fontsize=7, color=color)


def _frame(axes: Axes, rows: int, columns: int) -> None:
    axes.set_xlim(0, columns + 1 + _APART)
    axes.set_ylim(rows * (1 + _CAPTION), 0)
    axes.set_aspect("equal")
    heads = ["image", "nearest", *(f"{number}." for number in range(2, columns + 1))]
    axes.set_xticks([0.5, *(column + _APART + 0.5 for column in range(1, columns + 1))], heads)
    axes.set_yticks([])
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _require_match(count: int, asked: Tensor, nearest: Tensor, close: Tensor, classes: tuple[Tensor, Tensor]) -> None:
    shapes = {tuple(nearest.shape), tuple(close.shape)}
    if nearest.ndim != 2 or not nearest.numel() or len(shapes) > 1 or len(asked) != len(nearest):
        message = (
            f"Expected `neighbors` and `similarity` (Q, k) for each place of `query`, k of at least 1, got "
            f"{tuple(nearest.shape)} and {tuple(close.shape)} for {len(asked)} places."
        )
        raise InputError(message)
    if any(tuple(numbers.shape) != (count,) for numbers in classes):
        got = " and ".join(str(tuple(numbers.shape)) for numbers in classes)
        message = f"Expected `labels` and `predicted` ({count},), one for each picture, got {got}."
        raise InputError(message)
    places = torch.cat([asked.flatten(), nearest.flatten()])
    if places.is_floating_point() or int(asked.min()) < 0 or int(places.min()) < -1 or int(places.max()) >= count:
        message = (
            f"Expected places of pictures, whole numbers from 0 to {count - 1} (-1 for no neighbour), got "
            f"{float(places.min()):g} to {float(places.max()):g}."
        )
        raise InputError(message)
