"""What a treatment did: accuracy of each class before and after."""

from __future__ import annotations

from matplotlib.axes import Axes
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import NamesOfClasses, Values, as_values, class_label
from captum_paramsal.viz.style import INK, PALETTE, new_axes, styled

_BETTER, _WORSE = PALETTE[0], PALETTE[1]


def treatment_plot(
    labels: Values,
    before: Values,
    after: Values,
    ax: Axes | None = None,
    *,
    names: NamesOfClasses = None,
    title: str = "",
) -> Axes:
    """Draw the accuracy of each class before and after a treatment, with the images that were cured and broken.

    Args:
        labels: True classes of held-out images, ``(N,)``; classes that do not occur are left out.
        before: Predictions of the untreated model, ``(N,)``.
        after: Predictions of the treated one, ``(N,)``.
        ax: Where to draw; by default on a new figure.
        names: Of the classes, by number.
        title: Over the plot.

    Returns:
        The axes: a ring before, a dot after, and how many images were cured (+) and broken (-); better is blue, worse
        is vermilion. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: No image, or not as many of each.

    >>> from torch import tensor
    >>> ax = treatment_plot(tensor([0, 0, 1]), tensor([0, 1, 1]), tensor([0, 0, 0]), names=["cat", "dog"])
    >>> [text.get_text().split("\N{MINUS SIGN}") for text in ax.texts]
    [['+1 ', '0'], ['+0 ', '1']]
    """
    truth, old, new = (as_values(part) for part in (labels, before, after))
    if truth.ndim != 1 or not len(truth) or not truth.shape == old.shape == new.shape:
        got = ", ".join(str(tuple(part.shape)) for part in (truth, old, new))
        message = f"Expected labels and predictions (N,) of at least one image, got {got}."
        raise InputError(message)
    classes = truth.unique().tolist()
    with styled():
        axes = new_axes(6.4, 1.2 + 0.3 * len(classes)) if ax is None else ax
        for row, number in enumerate(classes):
            of_class = truth == number
            _draw_class(axes, row, old[of_class] == number, new[of_class] == number)
        axes.set_yticks(range(len(classes)), [class_label(names, number) for number in classes])
        axes.set_ylim(len(classes) - 0.4, -0.6)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("accuracy on held-out images")
        axes.grid(axis="x", color=INK, alpha=0.15, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.plot([], [], "o", markerfacecolor="none", color=INK, label="before")
        axes.plot([], [], "o", color=INK, label="after")
        axes.plot([], [], " ", label="+ cured \N{MINUS SIGN} broken")
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.2)
        axes.set_title(title, loc="right")
    return axes


def _draw_class(axes: Axes, row: int, right: Tensor, right_after: Tensor) -> None:
    start, end = float(right.double().mean()), float(right_after.double().mean())
    color = INK if start == end else _BETTER if end > start else _WORSE
    axes.plot([start, end], [row, row], color=color, linewidth=2.2, solid_capstyle="butt")
    axes.plot([start], [row], "o", markerfacecolor="none", markeredgecolor=color, markersize=7)
    axes.plot([end], [row], "o", color=color, markersize=7)
    cured, broken = int((right_after & ~right).sum()), int((right & ~right_after).sum())
    axes.annotate(
        f"+{cured} \N{MINUS SIGN}{broken}",
        (1.0, row),
        (14, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        verticalalignment="center",
        fontsize=8,
        annotation_clip=False,
    )
