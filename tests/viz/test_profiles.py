import subprocess
import sys

import matplotlib as mpl
import pytest
import torch

from captum_paramsal.errors import InputError, LayerError
from captum_paramsal.filters import Filter, FilterIndex
from captum_paramsal.viz import PALETTE, new_axes, profile_plot, to_png, to_svg

FILTERS = FilterIndex({"conv1": 4, "block.conv2": 2})
SCORES = torch.tensor([1.0, 4.0, 2.0, 3.0, -1.0, 5.0])


def _curves(axes):
    return [line for line in axes.lines if len(line.get_xdata()) == len(FILTERS)]


def test_layers_are_sorted_and_equally_wide():
    (curve,) = _curves(profile_plot(SCORES, FILTERS))
    assert curve.get_ydata().tolist() == [4.0, 3.0, 2.0, 1.0, 5.0, -1.0]
    assert curve.get_xdata().tolist() == [0.125, 0.375, 0.625, 0.875, 1.25, 1.75]


def test_axis_names_every_layer():
    axes = profile_plot(SCORES, FILTERS)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["conv1", "block.conv2"]
    assert axes.get_xlim() == (0, 2)
    assert axes.get_xticklabels()[0].get_rotation() == 0


def test_many_layers_are_labelled_sparsely_and_upright():
    filters = FilterIndex({f"layer{i}": 1 for i in range(100)})
    axes = profile_plot(torch.zeros(100), filters)
    labels = axes.get_xticklabels()
    assert 20 <= len(labels) <= 32
    assert labels[1].get_text() == "layer4"
    assert labels[0].get_rotation() == 90


def test_several_profiles_have_a_legend_and_colours_of_their_own():
    axes = profile_plot(torch.stack([SCORES, -SCORES]), FILTERS, labels=["correct", "incorrect"])
    assert [line.get_color() for line in _curves(axes)] == list(PALETTE[:2])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["correct", "incorrect"]


def test_more_profiles_than_colours_differ_in_dashes():
    axes = profile_plot(SCORES.expand(8, -1), FILTERS)
    looks = [(line.get_color(), line.get_linestyle()) for line in _curves(axes)]
    assert len(set(looks)) == 8


def test_marks_lie_on_the_curve():
    axes = profile_plot(SCORES, FILTERS, marks=[Filter("conv1", 3), Filter("block.conv2", 0)])
    marks = next(line for line in axes.lines if line.get_marker() == "o")
    assert list(marks.get_xdata()) == [0.375, 1.75]
    assert list(marks.get_ydata()) == [3.0, -1.0]


def test_draws_where_it_is_told_to():
    axes = new_axes()
    assert profile_plot(SCORES, FILTERS, axes, title="one image", ylabel="nats") is axes
    assert (axes.get_title(loc="left"), axes.get_ylabel()) == ("one image", "nats")


@pytest.mark.parametrize("scores", [torch.zeros(6), -SCORES.abs(), SCORES.bfloat16().float().requires_grad_()])
def test_zero_negative_and_attached_scores(scores):
    assert to_png(profile_plot(scores, FILTERS)).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("scores", "options", "error", "message"),
    [
        (torch.zeros(5), {}, InputError, r"\(..., 6\), got \(1, 5\)"),
        (torch.zeros(2, 2, 6), {}, InputError, r"got \(2, 2, 6\) and 0 labels"),
        (torch.zeros(2, 6), {"labels": ["a"]}, InputError, r"got \(2, 6\) and 1 labels"),
        (torch.zeros(6), {"marks": [Filter("conv9", 0)]}, LayerError, r"got conv9\[0\]"),
    ],
)
def test_what_cannot_be_drawn(scores, options, error, message):
    with pytest.raises(error, match=message):
        profile_plot(scores, FILTERS, **options)


def test_the_callers_own_style_stays():
    before = dict(mpl.rcParams)
    to_svg(profile_plot(SCORES, FILTERS), "a profile")
    assert dict(mpl.rcParams) == before


def test_svg_for_a_page():
    svg = to_svg(profile_plot(SCORES, FILTERS), 'scores of "conv1" & <others>')
    assert svg.startswith('<svg role="img" aria-label="scores of &quot;conv1&quot; &amp; &lt;others>"')
    assert svg.endswith("</svg>")
    assert "http" not in svg
    assert "currentColor" in svg
    assert ">block.conv2</text>" in svg
    assert svg == to_svg(profile_plot(SCORES, FILTERS), 'scores of "conv1" & <others>')


@pytest.mark.slow
def test_no_global_figures():
    code = (
        "import sys, torch; from captum_paramsal.viz import profile_plot, to_png; "
        "from captum_paramsal.filters import FilterIndex; "
        "to_png(profile_plot(torch.zeros(2), FilterIndex({'a': 2}))); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
