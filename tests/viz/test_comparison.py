import pytest
import torch

from captum_paramsal.errors import InputError
from captum_paramsal.viz import (
    agreement_plot,
    comparison_grid,
    map_scales,
    metric_bars,
    metric_panels,
    new_axes,
    presentable,
    signed_overlay,
    to_png,
    to_svg,
)

NAN = float("nan")
MANY = [f"method {number}" for number in range(17)]


def test_overlay_is_red_for_and_blue_against():
    shown = signed_overlay(torch.full((3, 1, 4), 0.5), torch.tensor([[4.0, -4.0, 0.0, NAN]]))
    assert shown[0, 0, 0] > shown[2, 0, 0] + 0.2
    assert shown[2, 0, 1] > shown[0, 0, 1] + 0.2
    assert len(shown[:, 0, 2].unique()) == len(shown[:, 0, 3].unique()) == 1
    assert shown.isfinite().all()


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e9])
def test_overlay_does_not_depend_on_the_unit(factor):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(8, 8, generator=generator)
    picture = torch.rand(3, 8, 8, generator=generator)
    torch.testing.assert_close(signed_overlay(picture, factor * values), signed_overlay(picture, values))


def test_pictures_for_people():
    normalised = torch.linspace(-2, 2, 12).reshape(3, 2, 2)
    shown = presentable(normalised)
    assert (float(shown.min()), float(shown.max())) == (0.0, 1.0)
    plain = torch.rand(1, 2, 2)
    assert torch.equal(presentable(plain), plain.expand(3, -1, -1))
    assert presentable(torch.full((5, 2, 2), 7.0)).shape == (3, 2, 2)


def test_grid_of_images_of_several_sizes_and_maps_that_show_nothing():
    pictures = [torch.rand(3, 8, 8), torch.rand(3, 6, 12) * 4 - 2]
    maps = [
        torch.stack([torch.randn(8, 8), torch.zeros(8, 8), -torch.rand(8, 8)]),
        torch.stack(
            [torch.full((6, 12), NAN), torch.randn(6, 12).where(torch.rand(6, 12) > 0.1, NAN), torch.ones(6, 12)]
        ),
    ]
    maps[1][1, 0, 0] = NAN
    own = new_axes()
    axes = comparison_grid(pictures, maps, ["a", "b", "c"], own, names=["one", "two"], title="maps")
    assert axes is own
    assert len(axes.images) == 8
    assert [text.get_text() for text in axes.texts] == [
        "the same\neverywhere",
        "no map",
        "not finite",
        "the same\neverywhere",
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert to_png(axes, dpi=40).startswith(b"\x89PNG")
    left, right, bottom, top = axes.images[4].get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(2)


def test_bars_of_more_methods_than_colours():
    scores = torch.randn(17, generator=torch.Generator().manual_seed(0))
    scores[3] = NAN
    axes = metric_bars(scores, scores - 1, scores + 1, MANY, unit="points", better="lower", title="metric")
    assert [label.get_text() for label in axes.get_yticklabels()] == MANY
    assert [text.get_text() for text in axes.texts] == ["no score"]
    assert axes.get_xlabel() == "points\n\N{LEFTWARDS ARROW} lower is better"
    widths = [patch.get_width() for patch in axes.patches]
    assert widths == pytest.approx(scores.nan_to_num().tolist())
    assert "no score" in to_svg(axes, "bars")


def test_means_far_apart_are_on_a_logarithmic_axis_without_bars():
    axes = metric_bars(torch.tensor([1e-3, 1.0, 1e3]), torch.full((3,), NAN), torch.full((3,), NAN), ["a", "b", "c"])
    assert axes.get_xscale() == "log"
    assert not axes.patches
    zero = metric_bars(torch.zeros(2), torch.zeros(2), torch.zeros(2), ["a", "b"])
    assert zero.get_xscale() == "linear"


def test_panels_for_every_metric_and_groups_of_images():
    scores = torch.rand(2, 3, 5)
    panels = metric_panels(scores, scores - 0.1, scores + 0.1, MANY[:3], list("vwxyz"), groups=["mistakes", "correct"])
    assert [axes.get_title(loc="left") for axes in panels] == list("vwxyz")
    assert len({axes.figure for axes in panels}) == 1
    assert len(panels[0].figure.axes) == 5
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == ["mistakes", "correct"]
    assert to_png(panels[0], dpi=40).startswith(b"\x89PNG")


def test_agreement_of_many_and_of_unknown():
    few = agreement_plot(torch.tensor([[1.0, NAN], [NAN, 1.0]]), ["a", "b"])
    assert [text.get_text() for text in few.texts] == ["1.00", "1.00"]
    many = agreement_plot(torch.eye(25), [str(i) for i in range(25)])
    assert not many.texts
    assert to_png(many, dpi=40).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: comparison_grid([], [], ["a"]), "got 0 pictures"),
        (lambda: comparison_grid(torch.rand(1, 3, 4, 4), torch.rand(1, 2, 4, 4), ["a"]), r"got 1 .*\(2, 4, 4\)"),
        (lambda: comparison_grid(torch.rand(1, 3, 4, 4), torch.rand(1, 1, 5, 4), ["a"]), r"\(4, 4\), got \(5, 4\)"),
        (lambda: metric_bars(torch.rand(3), torch.rand(3), torch.rand(2), MANY[:3]), r"got \(3,\), \(3,\), \(2,\)"),
        (lambda: metric_panels(torch.rand(3, 2), torch.rand(3, 2), torch.rand(3, 2), MANY[:3], []), "at least one"),
        (lambda: agreement_plot(torch.rand(2, 3), ["a", "b"]), r"got \(2, 3\)"),
        (lambda: presentable(torch.rand(4, 4)), r"got \(4, 4\)"),
    ],
)
def test_what_does_not_belong_together(draw, message):
    with pytest.raises(InputError, match=message):
        draw()


def scaled_maps():
    """Two images by two methods: the second method's maps are ten times as large, its second one the larger."""
    base = torch.tensor([[1.0, -1.0], [0.5, 0.0]])
    return [torch.stack([base, 10 * base]), torch.stack([base / 2, 20 * base])]


@pytest.mark.parametrize(
    ("scale", "full"),
    [
        ("map", [[1.0, 10.0], [0.5, 20.0]]),
        ("method", [[1.0, 20.0], [1.0, 20.0]]),
        ("common", [[20.0, 20.0], [20.0, 20.0]]),
    ],
)
def test_maps_on_one_scale(scale, full):
    pictures, maps = [torch.ones(3, 2, 2)] * 2, scaled_maps()
    axes = comparison_grid(pictures, maps, ["a", "b"], scale=scale)
    shown = [torch.as_tensor(image.get_array()) for image in axes.images]
    drawn = [shown[place].permute(2, 0, 1) for place in (1, 2, 4, 5)]
    places = [(row, column) for row in range(2) for column in range(2)]
    for picture, (row, column) in zip(drawn, places, strict=True):
        expected = signed_overlay(pictures[row], maps[row][column], full[row][column])
        torch.testing.assert_close(picture.float(), expected, atol=1e-6, rtol=0)
        # The sign stays whatever the scale: red for, blue against.
        assert picture[0, 0, 0] > picture[2, 0, 0]
        assert picture[2, 0, 1] > picture[0, 0, 1]
    bar = axes.figure.axes[-1]
    assert bar.get_ylabel() == {
        "map": "each map on a scale of its own",
        "method": "one scale for each method",
        "common": "one scale for all maps",
    }.get(scale)
    ends = ["against 20", "0", "for 20"] if scale == "common" else ["against", "0", "for"]
    assert [label.get_text() for label in bar.get_yticklabels()] == ends


def test_scales_of_maps_that_show_nothing():
    maps = [[torch.full((2, 3), NAN), torch.zeros(2, 3)], [torch.full((4, 4), -3.0), torch.zeros(4, 4)]]
    assert map_scales(maps, "map") == [[1.0, 1.0], [3.0, 1.0]]
    assert map_scales(maps, "method") == [[3.0, 1.0], [3.0, 1.0]]
    assert map_scales(maps, "common") == [[3.0, 3.0], [3.0, 3.0]]
    assert map_scales([], "common") == map_scales([], "map") == map_scales([], "method") == []
    with pytest.raises(InputError, match="'map', 'method', 'common', got 'image'"):
        map_scales(maps, "image")
