"""Which classes are taken for which: the confusion matrix of those that are confused most."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import NamesOfClasses, Values, as_values, class_label
from captum_paramsal.viz.matrix import draw_matrix, write_numbers
from captum_paramsal.viz.style import new_axes, styled

_HEAT = "inferno"
"""From black to yellow it rises evenly in brightness."""
_MOST = 12
_MOST_NUMBERS = 20


def confused_classes(counts: Values, most: int = _MOST) -> Tensor:
    """The classes of the most frequent mistakes: both ends of each pair, pair after pair.

    Args:
        counts: ``(C, C)``: images by true class and predicted class.
        most: Classes at most.

    Returns:
        Numbers of classes that are in some mistake, ``(K,)`` int64, those of one pair beside each other.

    >>> confused_classes(torch.tensor([[9, 0, 1], [0, 9, 0], [3, 1, 9]]), most=2).tolist()
    [2, 0]
    """
    mistakes = _square(counts).fill_diagonal_(0).nan_to_num(posinf=0)
    both_ways = mistakes + mistakes.T
    pairs = (mistakes > 0).nonzero().tolist()
    pairs.sort(key=lambda pair: (-float(mistakes[tuple(pair)]), -float(both_ways[tuple(pair)])))
    chosen: list[int] = []
    for pair in pairs:
        if len({*chosen, *pair}) > most:
            break
        chosen += [number for number in pair if number not in chosen]
    return torch.tensor(chosen, dtype=torch.int64)


def confusion_plot(
    counts: Values,
    ax: Axes | None = None,
    *,
    names: NamesOfClasses = None,
    classes: Sequence[int] | None = None,
    title: str = "",
) -> Axes:
    """Draw how often each class is taken for each other.

    Colours are for mistakes alone: correct images, on the diagonal, are grey, since they are so many more.

    Args:
        counts: ``(C, C)``: images by true class and predicted class.
        ax: Where to draw; by default on a new figure.
        names: Of the classes, by number.
        classes: Numbers of those to draw, from top to bottom; by default up to 12 by :func:`confused_classes`.
        title: Over the plot.

    Returns:
        The axes, with the number in each cell up to 20 classes. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: No square matrix, or classes that it does not have.

    >>> ax = confusion_plot(torch.tensor([[5, 2], [0, 4]]), names=["cat", "dog"])
    >>> [text.get_text() for text in ax.texts]
    ['5', '2', '4']
    """
    matrix = _square(counts)
    chosen = _chosen(matrix, classes)
    shown = matrix[chosen][:, chosen]
    labels = [class_label(names, number) for number in chosen]
    mistakes = shown.where(shown.isfinite(), torch.nan).fill_diagonal_(torch.nan)
    largest = max(1.0, float(mistakes.nan_to_num().max()))
    with styled():
        axes = new_axes(2.9 + 0.44 * len(chosen), 1.9 + 0.36 * len(chosen)) if ax is None else ax
        whole = MaxNLocator(5, integer=True)
        limits = (0, largest)
        draw_matrix(axes, mistakes, _HEAT, limits, columns=labels, rows=labels, label="mistakes", ticks=whole)
        axes.set(xlabel="predicted class", ylabel="true class")
        if len(chosen) <= _MOST_NUMBERS:
            words = [[f"{value:g}" if value and isfinite(value) else "" for value in row] for row in shown.tolist()]
            write_numbers(axes, words, mistakes / largest, _HEAT, fontsize=8)
        axes.set_title(title)
    return axes


def _square(counts: Values) -> Tensor:
    matrix = as_values(counts).double().clone()
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        message = f"Expected a matrix of true and predicted classes (C, C), got {tuple(matrix.shape)}."
        raise InputError(message)
    return matrix


def _chosen(matrix: Tensor, classes: Sequence[int] | None) -> list[int]:
    if classes is None:
        # Where nothing is confused, the first classes show that.
        return confused_classes(matrix).tolist() or list(range(min(_MOST, len(matrix))))
    outside = [number for number in classes if not 0 <= number < len(matrix)]
    if outside or not len(classes):
        message = f"Expected classes from 0 to {len(matrix) - 1}, got {outside[0] if outside else 'none'}."
        raise InputError(message)
    return list(classes)
