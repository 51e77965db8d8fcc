import numpy as np
import pytest
import torch

from captum_paramsal.errors import InputError
from captum_paramsal.viz import channel_order, class_channel_plot, new_axes, to_png, to_svg

MATRIX = torch.tensor([[0.0, 1.0, 0.2, 0.6], [1.0, 0.9, 0.0, 0.1], [0.5, 0.0, 1.0, 0.7]])


def _drawn(axes):
    return axes.images[0].get_array()


def test_channels_stand_by_the_class_that_they_speak_for():
    assert channel_order(MATRIX).tolist() == [1, 0, 2, 3]
    axes = class_channel_plot(MATRIX)
    assert np.asarray(_drawn(axes)) == pytest.approx(MATRIX[:, [1, 0, 2, 3]].numpy())
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "0", "2", "3"]


def test_channels_in_their_own_order():
    axes = class_channel_plot(MATRIX, order=False)
    assert np.asarray(_drawn(axes)) == pytest.approx(MATRIX.numpy())
    assert axes.get_xlabel() == "channel"


def test_chosen_classes_with_names():
    axes = class_channel_plot(MATRIX, names={2: "eel"}, classes=[2, 0])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["eel", "class 0"]
    assert _drawn(axes).shape == (2, 4)


def test_a_class_of_which_nothing_is_known_is_no_shade_of_the_heat():
    missing = MATRIX.clone()
    missing[1] = torch.nan
    axes = class_channel_plot(missing)
    image = axes.images[0]
    assert np.ma.getmaskarray(image.get_array()).all(axis=1).tolist() == [False, True, False]
    colors = image.cmap(image.norm(image.get_array()))
    grey = colors[1, 0]
    shades = image.cmap(np.linspace(0, 1, 256))
    assert np.abs(shades - grey).max(axis=1).min() > 0.1
    assert to_png(axes).startswith(b"\x89PNG")


def test_nothing_known_at_all():
    axes = class_channel_plot(torch.full((2, 3), torch.nan))
    assert to_png(axes).startswith(b"\x89PNG")


def test_many_channels_have_no_numbers():
    axes = class_channel_plot(
        torch.rand(4, 700, generator=torch.Generator().manual_seed(0)), new_axes(), title="layer4"
    )
    assert axes.get_xticklabels() == []
    assert axes.get_title(loc="left") == "layer4"
    assert "<image" in to_svg(axes, "classes and channels")


@pytest.mark.parametrize(
    ("matrix", "classes", "message"),
    [
        (torch.rand(4), None, r"\(C, K\), got \(4,\)"),
        (torch.rand(0, 4), None, r"got \(0, 4\)"),
        (MATRIX, [3], "from 0 to 2, got 3"),
        (MATRIX, [], "from 0 to 2, got none"),
    ],
)
def test_what_cannot_be_drawn(matrix, classes, message):
    with pytest.raises(InputError, match=message):
        class_channel_plot(matrix, classes=classes)
