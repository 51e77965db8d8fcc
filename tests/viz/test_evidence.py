import numpy as np
import pytest
import torch

from captum_paramsal.errors import InputError
from captum_paramsal.viz import evidence_overlay, evidence_plot, new_axes, outline, to_png
from captum_paramsal.viz.inputs import grey
from captum_paramsal.viz.traces import trace_overlay

IMAGE = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0))
MAP = torch.zeros(2, 3)
MAP[0, 2] = 4e-6


def test_glows_where_the_evidence_lies():
    glow = (evidence_overlay(IMAGE, MAP) - 0.65 * grey(IMAGE)).abs().sum(dim=0)
    assert glow[:4, 20:].min() > 0.3
    assert glow[12:].max() == 0
    assert glow[:, :8].max() == 0


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf])
def test_no_evidence_leaves_the_picture(value):
    shown = evidence_overlay(IMAGE, torch.full((2, 3), value))
    torch.testing.assert_close(shown, 0.65 * grey(IMAGE).expand(3, -1, -1))


def test_places_that_are_not_finite_do_not_glow():
    broken = MAP.clone()
    broken[1, 0] = torch.nan
    assert torch.equal(evidence_overlay(IMAGE, broken), evidence_overlay(IMAGE, MAP))


def test_half_precision_that_needs_gradients():
    weak = MAP.half().requires_grad_()
    torch.testing.assert_close(evidence_overlay(IMAGE, weak), trace_overlay(IMAGE, MAP), rtol=0, atol=1e-2)


def test_outline_of_the_object_in_axes_of_the_caller():
    mask = torch.zeros(16, 24, dtype=torch.bool)
    mask[2:5, 3:9] = True
    axes = new_axes()
    assert evidence_plot(IMAGE, MAP, axes, mask=mask, title="a cat") is axes
    dark, light = axes.collections
    corners = np.concatenate(light.get_segments())
    assert corners.min(axis=0).tolist() == [2.5, 1.5]
    assert corners.max(axis=0).tolist() == [8.5, 4.5]
    assert dark.get_linewidth()[0] > light.get_linewidth()[0]
    assert axes.get_xlim() == (-0.5, 23.5)
    assert axes.get_title(loc="left") == "a cat"
    assert to_png(axes).startswith(b"\x89PNG")


def test_an_empty_mask_has_no_outline():
    axes = evidence_plot(IMAGE, MAP, mask=torch.zeros(16, 24, dtype=torch.bool))
    assert all(len(lines.get_segments()) == 0 for lines in axes.collections)


@pytest.mark.parametrize("seed", range(5))
def test_outline_goes_once_between_each_pair_of_unlike_neighbours(seed):
    mask = torch.rand(7, 9, generator=torch.Generator().manual_seed(seed)) > 0.5
    framed = torch.zeros(9, 11, dtype=torch.int64)
    framed[1:-1, 1:-1] = mask
    expected = framed.diff(dim=0).abs().sum() + framed.diff(dim=1).abs().sum()
    lines = outline(mask)
    lengths = (lines[:, 2:] - lines[:, :2]).sum(dim=1)
    assert (lengths > 0).all()
    assert int(lengths.sum()) == int(expected)
    level = lines[lines[:, 1] == lines[:, 3]]
    for x1, y, x2, _ in level.tolist():
        assert (framed[y + 1, x1 + 1 : x2 + 1] != framed[y, x1 + 1 : x2 + 1]).all()


def test_outline_of_a_frame_of_the_picture():
    assert outline(torch.ones(3, 5, dtype=torch.bool)).tolist() == [
        [0, 0, 5, 0],
        [0, 3, 5, 3],
        [0, 0, 0, 3],
        [5, 0, 5, 3],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IMAGE, torch.rand(3, 2, 2)), r"evidence \(h, w\), got \(3, 2, 2\)"),
        ((IMAGE, torch.rand(0, 2)), r"got \(0, 2\)"),
        ((IMAGE, -MAP), "not negative"),
        ((IMAGE[:2], MAP), r"\(1 or 3, H, W\), got \(2, 16, 24\)"),
    ],
)
def test_what_cannot_be_drawn(arguments, message):
    with pytest.raises(InputError, match=message):
        evidence_plot(*arguments)


@pytest.mark.parametrize(
    ("mask", "message"),
    [(torch.ones(24, 16, dtype=torch.bool), r"16 x 24 pixels .*, got \(24, 16\)"), (torch.ones(16, 24), "of bool")],
)
def test_masks_that_do_not_fit(mask, message):
    with pytest.raises(InputError, match=message):
        evidence_plot(IMAGE, MAP, mask=mask)
