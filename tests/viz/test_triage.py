import numpy as np
import pytest
import torch

from captum_paramsal import FilterIndex
from captum_paramsal.errors import InputError
from captum_paramsal.viz import confused_classes, confusion_plot, to_png, to_svg, triage_plot

FILTERS = FilterIndex({"one": 2, "two": 3})
SCORES = torch.tensor([[0.1, 0.9, 0.0, 0.3, 0.2], [0.0, 0.1, 0.8, 0.2, 0.1], [0.5, 0.4, 0.1, 0.0, 0.2]])
COUNTS = torch.tensor([[50, 1, 0, 0], [0, 40, 6, 0], [0, 2, 30, 0], [4, 0, 0, 20]])


def labels_of(ticks):
    return [label.get_text() for label in ticks]


def drawn(axes):
    mesh = axes.collections[0]
    # Older versions of matplotlib have the values in one row.
    rows, columns = np.subtract(mesh.get_coordinates().shape[:2], 1)
    return np.ma.filled(np.ma.asarray(mesh.get_array()), np.nan).reshape(rows, columns)


def test_the_highest_filters_of_each_set_in_the_order_of_the_network():
    axes = triage_plot(SCORES, FILTERS, k=1)
    assert labels_of(axes.get_yticklabels()) == ["one[0]", "one[1]", "two[0]"]
    assert labels_of(axes.get_xticklabels()) == ["all", "0", "1"]
    np.testing.assert_allclose(drawn(axes), SCORES[:, :3].T.numpy(), rtol=1e-6)
    assert axes.texts[0].get_text() == "0.10"


def test_lines_part_the_layers():
    axes = triage_plot(SCORES, FILTERS, k=1, names=["a", "b", "c"], title="guilty")
    assert [line.get_ydata()[0] for line in axes.lines] == [2]
    assert labels_of(axes.get_xticklabels()) == ["a", "b", "c"]
    assert axes.get_title(loc="left") == "guilty"
    assert not triage_plot(SCORES[:, :2], FilterIndex({"one": 2})).lines


def test_more_filters_than_there_are_and_large_scores():
    axes = triage_plot(1000 * SCORES, FILTERS, k=99)
    assert len(axes.get_yticklabels()) == 5
    assert axes.texts[0].get_text() == "100"


def test_pairs_that_are_confused_most_come_first():
    assert confused_classes(COUNTS).tolist() == [1, 2, 3, 0]
    assert confused_classes(COUNTS, most=2).tolist() == [1, 2]
    assert confused_classes(torch.eye(3)).tolist() == []


def test_right_answers_have_no_colour():
    axes = confusion_plot(COUNTS, names={2: "eel"})
    assert labels_of(axes.get_yticklabels()) == ["class 1", "eel", "class 3", "class 0"]
    values = drawn(axes)
    assert np.isnan(np.diag(values)).all()
    assert values[0, 1] == 6
    assert axes.collections[0].get_clim() == (0, 6)
    assert [text.get_text() for text in axes.texts] == ["40", "6", "2", "30", "20", "4", "1", "50"]


def test_chosen_classes_and_nothing_confused():
    assert labels_of(confusion_plot(COUNTS, classes=[3, 1]).get_xticklabels()) == ["class 3", "class 1"]
    axes = confusion_plot(torch.eye(2))
    assert labels_of(axes.get_xticklabels()) == ["class 0", "class 1"]
    assert to_png(axes).startswith(b"\x89PNG")


def test_many_classes_have_no_numbers():
    axes = confusion_plot(torch.ones(30, 30), classes=range(25))
    assert not axes.texts
    assert "<svg" in to_svg(axes, "confusion")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: triage_plot(SCORES[0], FILTERS), r"Expected scores \(sets, 5\)"),
        (lambda: triage_plot(SCORES, FilterIndex({"one": 2})), r"got \(3, 5\)"),
        (lambda: triage_plot(SCORES, FILTERS, k=0), "k of at least 1"),
        (lambda: triage_plot(SCORES, FILTERS, names=["a"]), "Expected 3 names, one for each set, got 1"),
        (lambda: confusion_plot(SCORES), r"\(C, C\), got \(3, 5\)"),
        (lambda: confusion_plot(COUNTS, classes=[4]), "from 0 to 3, got 4"),
        (lambda: confusion_plot(COUNTS, classes=[]), "got none"),
    ],
)
def test_what_cannot_be_drawn(draw, message):
    with pytest.raises(InputError, match=message):
        draw()
