"""Which methods rank the pixels in a similar order: a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.matrix import draw_matrix, rounded, write_numbers
from captum_paramsal.viz.style import new_axes, styled

_COLORS = "PuOr_r"
_MOST_NUMBERS = 20


def agreement_plot(
    agreement: ArrayLike | Tensor, methods: Sequence[str], ax: Axes | None = None, *, title: str = ""
) -> Axes:
    """Draw how similar methods are, two by two.

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
    with styled():
        axes = new_axes(2.9 + 0.44 * count, 1.9 + 0.36 * count) if ax is None else ax
        draw_matrix(axes, values, _COLORS, (-1, 1), columns=methods, rows=methods, label="rank correlation")
        if count <= _MOST_NUMBERS:
            words = [[rounded(value, 2) for value in numbers] for numbers in values.tolist()]
            write_numbers(axes, words, (values + 1) / 2, _COLORS)
        axes.set_title(title)
    return axes
