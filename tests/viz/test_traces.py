import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from captum_paramsal.errors import InputError
from captum_paramsal.viz import new_axes, to_png
from captum_paramsal.viz.inputs import grey
from captum_paramsal.viz.style import PALETTE
from captum_paramsal.viz.traces import point_width, trace_overlay, trace_plot

IMAGE = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))


def test_points_stand_on_their_pixels():
    axes = trace_plot(IMAGE, torch.tensor([[0, 29], [19, 0], [7, 3]]))
    (points,) = axes.collections
    assert points.get_offsets().tolist() == [[29, 0], [0, 19], [3, 7]]
    assert axes.get_xlim() == (-0.5, 29.5)
    assert axes.get_ylim() == (19.5, -0.5)
    assert tuple(points.get_facecolor()[0]) == to_rgba(PALETTE[5])


def test_many_points_are_smaller():
    def area(count):
        rows = torch.randint(20, (count, 2), generator=torch.Generator().manual_seed(0))
        return float(trace_plot(IMAGE, rows).collections[0].get_sizes()[0])

    assert area(1) == area(100) > area(400) > area(5000) > 0


def test_box_encloses_its_pixels():
    axes = trace_plot(IMAGE, torch.zeros(0, 2), torch.tensor([5.0, 2.0, 11.0, 9.0]))
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert {patch.get_bbox().bounds for patch in boxes} == {(4.5, 1.5, 6.0, 7.0)}
    assert len({patch.get_edgecolor() for patch in boxes}) == 2  # light on dark: seen on any picture
    assert boxes[-1].get_linewidth() < boxes[0].get_linewidth()


def test_an_empty_trace():
    axes = trace_plot(IMAGE, torch.zeros(0, 2, dtype=torch.int64), torch.full((4,), torch.nan), torch.zeros(20, 30))
    assert not axes.patches
    assert not len(axes.collections[0].get_offsets())
    assert not np.asarray(axes.images[1].get_alpha()).any()
    assert to_png(axes).startswith(b"\x89PNG")


def test_heat_hides_more_the_higher_it_is():
    heat = torch.linspace(0, 5e-3, 600).reshape(20, 30)
    axes = trace_plot(IMAGE, torch.zeros(0, 2), heatmap=heat)
    picture, layer = axes.images
    shares = np.asarray(layer.get_array())
    assert (shares.min(), shares.max()) == (0, 1)
    alpha = np.asarray(layer.get_alpha()).ravel()
    assert (np.diff(alpha) > 0).all()
    assert (alpha[0], alpha[-1]) == pytest.approx((0, 0.8))
    assert np.asarray(picture.get_array()) == pytest.approx(0.65 * grey(IMAGE).numpy())


def test_points_and_box_as_arrays_in_axes_of_the_caller():
    axes = new_axes()
    assert trace_plot(IMAGE[:1], np.array([[1, 2]]), [0, 0, 5, 5], ax=axes, title="a cat") is axes
    assert axes.get_title(loc="left") == "a cat"
    assert axes.collections[0].get_zorder() > max(patch.get_zorder() for patch in axes.patches)


def test_overlay_is_what_the_plot_draws_below_points_and_box():
    heat = torch.rand(20, 30, generator=torch.Generator().manual_seed(1)) ** 4
    axes = trace_plot(IMAGE, torch.zeros(0, 2), heatmap=heat)
    picture, layer = (np.asarray(image.to_rgba(image.get_array(), alpha=image.get_alpha())) for image in axes.images)
    alpha = np.asarray(axes.images[1].get_alpha())[..., None]
    expected = picture[..., :3] * (1 - alpha) + layer[..., :3] * alpha
    assert trace_overlay(IMAGE, heat).permute(1, 2, 0).numpy() == pytest.approx(expected, abs=2 / 255)


def test_overlay_of_another_resolution():
    heat = torch.zeros(40, 60)
    heat[:, :30] = 1
    shown = trace_overlay(IMAGE, heat)
    assert shown.shape == (3, 20, 30)
    nothing = 0.65 * grey(IMAGE).expand(3, -1, -1)
    torch.testing.assert_close(shown[:, :, 18:], nothing[:, :, 18:])
    assert (shown[0, :, :12] > 0.7).all()


def test_overlay_without_heat_is_the_dimmed_picture():
    shown = trace_overlay(IMAGE, torch.zeros(20, 30))
    torch.testing.assert_close(shown, 0.65 * grey(IMAGE).expand(3, -1, -1))


@pytest.mark.parametrize("heat", [torch.full((20, 30), -1.0), torch.full((20, 30), torch.nan), torch.zeros(3, 20, 30)])
def test_overlay_of_what_is_no_heat(heat):
    with pytest.raises(InputError, match="heat map"):
        trace_overlay(IMAGE, heat)


def test_points_of_a_plot_have_the_width_that_is_told():
    axes = trace_plot(IMAGE, torch.zeros(3, 2))
    across = axes.bbox.width / axes.figure.dpi * 72
    assert float(axes.collections[0].get_sizes()[0]) ** 0.5 == pytest.approx(point_width(across, 3))


def test_grey_is_as_bright_as_the_colours():
    colors = torch.eye(3)[:, :, None]
    assert grey(colors)[:, 0].tolist() == pytest.approx([0.299, 0.587, 0.114])
    assert grey(torch.tensor([[[0.25, 7.0, -1.0]]])).tolist() == [[0.25, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.rand(2, 20, 30), torch.zeros(0, 2)), r"image of shape \(1 or 3, H, W\), got \(2, 20, 30\)"),
        ((torch.rand(3, 0, 30), torch.zeros(0, 2)), r"got \(3, 0, 30\)"),
        ((IMAGE, torch.zeros(4, 3)), r"points \(y, x\), \(K, 2\), got \(4, 3\)"),
        ((IMAGE, [[1, 1], [20, 0]]), r"20 x 30 pixels .*, got \(20, 0\)"),
        ((IMAGE, [[1, -1]]), r"got \(1, -1\)"),
        ((IMAGE, [[1, 1]], [0, 0, 1]), r"box \(x1, y1, x2, y2\), got shape \(3,\)"),
        ((IMAGE, [[1, 1]], None, torch.zeros(30, 20)), r"heat map \(20, 30\) .*, got \(30, 20\) from 0"),
        ((IMAGE, [[1, 1]], None, torch.full((20, 30), -2.0)), r"got \(20, 30\) from -2"),
        ((IMAGE, [[1, 1]], None, torch.full((20, 30), torch.inf)), r"got \(20, 30\) from inf"),
    ],
)
def test_what_cannot_be_drawn(arguments, message):
    with pytest.raises(InputError, match=message):
        trace_plot(*arguments)
