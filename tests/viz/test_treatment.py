import pytest
import torch
from matplotlib.colors import same_color

from captum_paramsal.errors import InputError
from captum_paramsal.viz import PALETTE, new_axes, to_png, treatment_plot
from captum_paramsal.viz.style import INK

LABELS = torch.tensor([0, 0, 0, 0, 2, 2, 5])
BEFORE = torch.tensor([0, 0, 1, 1, 2, 2, 0])
AFTER = torch.tensor([0, 1, 0, 0, 2, 0, 1])


def _lines(axes):
    return [line for line in axes.lines if line.get_marker() == "None" and len(line.get_xdata())]


def test_each_class_from_before_to_after():
    axes = treatment_plot(LABELS, BEFORE, AFTER, names={0: "cat", 5: "eel"})
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "class 2", "eel"]
    assert [list(line.get_xdata()) for line in _lines(axes)] == [[0.5, 0.75], [1.0, 0.5], [0.0, 0.0]]
    assert [text.get_text() for text in axes.texts] == [
        "+2 \N{MINUS SIGN}1",
        "+0 \N{MINUS SIGN}1",
        "+0 \N{MINUS SIGN}0",
    ]
    colors = [PALETTE[0], PALETTE[1], INK]
    assert all(same_color(line.get_color(), color) for line, color in zip(_lines(axes), colors, strict=True))
    assert to_png(axes).startswith(b"\x89PNG")


def test_axes_of_the_caller():
    axes = new_axes()
    assert treatment_plot(LABELS, BEFORE, BEFORE, axes, title="demo") is axes
    assert axes.get_title(loc="right") == "demo"
    assert all(text.get_text() == "+0 \N{MINUS SIGN}0" for text in axes.texts)


@pytest.mark.parametrize(
    ("labels", "after", "message"),
    [(LABELS, AFTER[1:], r"got \(7,\), \(7,\), \(6,\)"), (LABELS[:0], AFTER, r"got \(0,\)")],
)
def test_what_does_not_belong_together(labels, after, message):
    with pytest.raises(InputError, match=message):
        treatment_plot(labels, BEFORE, after)
