"""What holds for every figure: plain data in, the caller's axes out, no window, no map that breaks it, safe colours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.collections import Collection, LineCollection
from matplotlib.colors import to_rgb, to_rgba
from torch import nn
from viz.colour_vision import DEFICIENCIES, distance, lightness

from captum_paramsal import DiscernibleNeurons, Filter, FilterIndex, viz
from captum_paramsal.errors import InputError
from captum_paramsal.reference import Exemplars

NAN = float("nan")
KINDS = {"tensors": torch.as_tensor, "arrays": lambda values: torch.as_tensor(values).numpy()}
MAPS = {
    "zero": lambda maps: 0 * maps,
    "negative": lambda maps: -maps.abs() - 0.1,
    "NaN": lambda maps: maps.where(torch.rand(maps.shape, generator=seeded()) > 0.3, NAN),
    "all NaN": lambda maps: torch.full_like(maps, NAN),
    "infinite": lambda maps: maps.where(torch.rand(maps.shape, generator=seeded()) > 0.1, float("inf")),
    "one pixel": lambda maps: torch.zeros_like(maps).index_fill(-1, torch.tensor([0]), 3.0),
}


def seeded():
    return torch.Generator().manual_seed(0)


def noise(*shape):
    return torch.randn(shape, generator=seeded())


def picture(side=8):
    return torch.rand(3, side, side, generator=seeded())


@dataclass(frozen=True)
class Figure:
    """How a function is called, ``of`` making tensors or arrays.

    Attributes:
        draw: With ``of``, the map or scores that it shows, and where to draw.
        values: What it usually shows.
        axes: How many axes it draws on; more than one come on a figure of their own.
        own_axes: Whether the caller can say where to draw.
    """

    draw: Callable[..., Any]
    values: torch.Tensor
    axes: int = 1
    own_axes: bool = True


def _exemplars():
    item = Filter("conv", 0)
    return Exemplars(item, (0, 1), ("", ""), (0, 1), (2.0, 1.0), ((0, 0), (1, 1)), 0.5, {0: 5, 1: 5})


def _neurons(of, values, ax):
    del ax
    layer = {"y": of([1, 2]), "x": of([1, 3]), "score": of(values), "channel": of([0, 1]), "size": (2, 8, 8)}
    return viz.neurons_plot({"conv": layer}, image=of(picture()))


def _path(of, values, ax):
    del ax
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    trace = DiscernibleNeurons(model).trace(picture()[None], target=0, through=Filter("0", 0))
    return viz.path_plot(trace, of(picture()), activation=of(values), fields=[((0, 2), (1, 3))])


def _stability(of, values, ax):
    names = ("threshold", "count", "shape", "shape_error", "modified_scale", "modified_scale_error")
    return viz.threshold_stability_plot(**dict(zip(names, map(of, values), strict=True)), axes=ax)


def _bandit(of, values, ax):
    del of
    history = {"weight": {"values": (0.1, 0.2), "arms": (0, 1, 1), "rewards": tuple(values.tolist())}}
    return viz.bandit_plot(history, ax)


FIGURES: Mapping[str, Figure] = {
    "agreement_plot": Figure(
        lambda of, values, ax: viz.agreement_plot(of(values), ["a", "b"], ax), torch.tensor([[1.0, 0.3], [0.3, 1.0]])
    ),
    "bandit_plot": Figure(_bandit, torch.tensor([0.0, 1.0, 1.0])),
    "calibration_plot": Figure(
        lambda of, values, ax: viz.calibration_plot(of(values), ax), torch.rand(4, 300, generator=seeded())
    ),
    "class_channel_plot": Figure(
        lambda of, values, ax: viz.class_channel_plot(of(values), ax), torch.rand(3, 5, generator=seeded())
    ),
    "comparison_grid": Figure(
        lambda of, values, ax: viz.comparison_grid(of(picture()[None]), of(values[None]), ["a", "b"], ax),
        noise(2, 8, 8),
    ),
    "confusion_plot": Figure(
        lambda of, values, ax: viz.confusion_plot(of(values), ax), torch.tensor([[5.0, 2.0, 0.0], [1, 7, 0], [0, 3, 4]])
    ),
    "evidence_plot": Figure(
        lambda of, values, ax: viz.evidence_plot(of(picture()), of(values), ax, mask=of(torch.eye(8) > 0)),
        noise(4, 4).abs(),
    ),
    "intervention_plot": Figure(
        lambda of, values, ax: viz.intervention_plot(of(values), ["a", "b"], "measure", ax=ax), noise(2, 3, 5)
    ),
    "mean_excess_plot": Figure(lambda of, values, ax: viz.mean_excess_plot(of(values), ax), noise(50)),
    "metric_bars": Figure(
        lambda of, values, ax: viz.metric_bars(of(values), of(values - 1), of(values + 1), ["a", "b", "c"], ax),
        noise(3),
    ),
    "metric_panels": Figure(
        lambda of, values, ax: viz.metric_panels(of(values), of(values), of(values), ["a", "b"], ["m", "n"]),  # noqa: ARG005
        noise(2, 2),
        axes=2,
        own_axes=False,
    ),
    "exemplar_grid": Figure(
        lambda of, values, ax: viz.exemplar_grid([_exemplars()], [[of(picture()), of(values)]], ax),
        noise(3, 8, 8),
    ),
    "neighbor_grid": Figure(
        lambda of, values, ax: viz.neighbor_grid(
            [of(picture()), of(values)], [0], of([[1]]), of([[0.5]]), ax, labels=of([0, 1]), predicted=of([1, 1])
        ),
        noise(3, 8, 8),
    ),
    "neurons_plot": Figure(_neurons, torch.tensor([0.5, 1.0]), own_axes=False),
    "path_plot": Figure(_path, noise(8, 8).abs(), own_axes=False),
    "pixel_plot": Figure(lambda of, values, ax: viz.pixel_plot(of(picture()), of(values), ax), noise(3, 8, 8)),
    "profile_plot": Figure(
        lambda of, values, ax: viz.profile_plot(of(values), FilterIndex({"one": 3, "two": 5}), ax), noise(2, 8)
    ),
    "qq_plot": Figure(lambda of, values, ax: viz.qq_plot(of(values), 0.1, 1.0, ax), noise(50).abs() + 0.1),
    "score_distribution_plot": Figure(
        lambda of, values, ax: viz.score_distribution_plot(of(values), of([0.0, 0.1]), of([1.0, 2.0]), 20, ax),
        noise(2, 9),
    ),
    "share_plot": Figure(
        lambda of, values, ax: viz.share_plot(of(viz.tail_levels()), [("a", of(values), of(0.1 * values))], ax),
        viz.tail_levels().clone(),
    ),
    "stage_plot": Figure(
        lambda of, values, ax: viz.stage_plot(of(values), of(2 * values), ["a", "b"], ax),
        torch.tensor([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]]),
    ),
    "threshold_stability_plot": Figure(_stability, torch.rand(6, 5, generator=seeded()).cumsum(1), axes=2),
    "trace_plot": Figure(
        lambda of, values, ax: viz.trace_plot(
            of(picture()), of([[1, 2], [3, 3]]), of([1.0, 1.0, 4.0, 4.0]), of(values), ax
        ),
        noise(8, 8).abs(),
    ),
    "treatment_plot": Figure(
        lambda of, values, ax: viz.treatment_plot(of([0, 1, 1]), of(values), of([0, 1, 1]), ax), torch.tensor([0, 0, 1])
    ),
    "triage_plot": Figure(
        lambda of, values, ax: viz.triage_plot(of(values), FilterIndex({"one": 3, "two": 5}), ax), noise(3, 8).abs()
    ),
}
TURNED: Mapping[str, Callable[..., Any]] = {
    "channel_order": lambda of: viz.channel_order(of(torch.rand(3, 5, generator=seeded()))),
    "confused_classes": lambda of: viz.confused_classes(of([[5, 2, 0], [1, 7, 0], [0, 3, 4]])),
    "display_map": lambda of: viz.display_map(of(noise(3, 8, 8))),
    "evidence_overlay": lambda of: viz.evidence_overlay(of(picture()), of(noise(4, 4).abs())),
    "mean_excesses": lambda of: viz.mean_excesses(of(noise(50))),
    "outline": lambda of: viz.outline(of(torch.eye(4) > 0)),
    "pixel_overlay": lambda of: viz.pixel_overlay(of(picture()), of(noise(3, 8, 8))),
    "presentable": lambda of: viz.presentable(of(noise(3, 8, 8))),
    "qq_points": lambda of: viz.qq_points(of(noise(50).abs()), 0.1, 1.0),
    "shares_per_image": lambda of: viz.shares_per_image(of(noise(2, 9).sigmoid()), of(viz.tail_levels())),
    "signed_overlay": lambda of: viz.signed_overlay(of(picture()), of(noise(8, 8))),
    "tail_shares": lambda of: viz.tail_shares(of(noise(2, 9).sigmoid()), of(viz.tail_levels())),
}
OTHERS = {"INK", "PALETTE", "decoded", "new_axes", "new_panels", "tail_levels", "to_png", "to_svg"} | {
    "SCALE_WORDS",
    "MapScale",
    "map_scales",
    "require_scale",
}
OF_MAPS = ("comparison_grid", "evidence_plot", "pixel_plot", "trace_plot", "agreement_plot", "metric_bars")
OF_MAPS += ("metric_panels", "class_channel_plot", "profile_plot", "confusion_plot", "triage_plot")
NO_NUMBERS = ("NaN", "all NaN", "infinite")
REFUSED = {
    "pixel_plot": NO_NUMBERS,
    "trace_plot": ("negative", *NO_NUMBERS),
    "evidence_plot": ("negative",),
}
"""What a trace or evidence never is; and gradients that are not finite, of which percentiles say nothing."""


def listed(axes):
    return list(axes) if isinstance(axes, tuple) else [axes]


def artists(axes):
    """All that is drawn, as numbers."""
    images = [np.ma.filled(np.ma.asarray(image.get_array(), float), NAN) for image in axes.images]
    lines = [np.asarray(line.get_xydata(), float) for line in axes.lines]
    texts = [text.get_text() for text in axes.texts]
    bars = [patch.get_window_extent().bounds for patch in axes.patches]
    return images + lines + bars, texts


def test_nothing_is_forgotten():
    assert {*FIGURES, *TURNED, *OTHERS} == {*viz.__all__}


@pytest.fixture(autouse=True)
def _no_window(monkeypatch):
    def refuse(*_, **__):
        message = "A window was asked for."
        raise AssertionError(message)

    monkeypatch.setattr(plt, "show", refuse)
    monkeypatch.setattr(plt, "figure", refuse)
    before = dict(mpl.rcParams)
    yield
    assert not plt.get_fignums()
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", FIGURES)
def test_tensors_and_arrays_draw_the_same(name):
    one, other = (listed(FIGURES[name].draw(of, FIGURES[name].values, None)) for of in KINDS.values())
    assert len(one) == len(other) == FIGURES[name].axes
    for mine, theirs in zip(one, other, strict=True):
        assert mine.figure is not theirs.figure
        (numbers, words), (others, their_words) = artists(mine), artists(theirs)
        assert words == their_words
        for first, second in zip(numbers, others, strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", TURNED)
def test_tensors_and_arrays_turn_into_the_same(name):
    one, other = (TURNED[name](of) for of in KINDS.values())
    for first, second in zip(listed(one), listed(other), strict=True):
        assert isinstance(first, torch.Tensor)
        assert torch.equal(first, second)


@pytest.mark.parametrize("name", [name for name, figure in FIGURES.items() if figure.own_axes])
def test_drawn_where_the_caller_says(name):
    figure = FIGURES[name]
    own = tuple(mpl.figure.Figure().subplots(2, 1))[: figure.axes]
    returned = figure.draw(torch.as_tensor, figure.values, own if figure.axes > 1 else own[0])
    assert listed(returned) == list(own)
    assert all(axes.has_data() for axes in own)


def pairs():
    """Every figure with every map: what is refused, and a third of the others, each map and figure in turn."""
    for row, name in enumerate(OF_MAPS):
        for column, maps in enumerate(MAPS):
            slowly = maps not in REFUSED.get(name, ()) and (row + column) % 3 != 0
            yield pytest.param(name, maps, marks=[pytest.mark.slow] * slowly)


@pytest.mark.parametrize("file", ["png", pytest.param("svg", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "maps"), list(pairs()))
def test_maps_that_show_nothing_or_no_numbers(name, maps, file):
    """They are drawn, without a warning; or refused in words, where a figure would say something wrong."""
    figure = FIGURES[name]
    values = MAPS[maps](figure.values)
    if maps in REFUSED.get(name, ()):
        with pytest.raises(InputError, match="Expected"):
            figure.draw(torch.as_tensor, values, None)
        return
    axes = listed(figure.draw(torch.as_tensor, values, None))[0]
    if file == "png":
        assert viz.to_png(axes, dpi=30).startswith(b"\x89PNG")
    else:
        assert viz.to_svg(axes, "figure").startswith("<svg")


@pytest.mark.parametrize("name", OF_MAPS)
def test_a_figure_is_a_vector_drawing_too(name):
    maps = "one pixel" if name in REFUSED else "NaN"
    axes = listed(FIGURES[name].draw(torch.as_tensor, MAPS[maps](FIGURES[name].values), None))[0]
    assert viz.to_svg(axes, "figure").startswith("<svg")


@pytest.mark.parametrize("name", FIGURES)
def test_colours_are_told_apart_without_colour_vision(name):
    """Lines, bars and points have the package's colours; maps of colours rise in lightness, or differ at their ends."""
    figure = FIGURES[name]
    allowed = {to_rgb(color) for color in (*viz.PALETTE, viz.INK)}
    for axes in listed(figure.draw(torch.as_tensor, figure.values, None)):
        drawn = [color for line in axes.lines for color in colours_of(line)]
        drawn += [patch.get_facecolor() for patch in axes.patches]
        drawn += [color for one in axes.collections if isinstance(one, LineCollection) for color in one.get_colors()]
        for color in filter(visible, drawn):
            red, green, blue = to_rgb(color)
            assert (red, green, blue) in allowed or red == green == blue, color
        mapped = [one for one in (*axes.images, *axes.collections) if one.get_array() is not None]
        for one in mapped:
            if np.ndim(one.get_array()) <= 2 or isinstance(one, Collection):
                assert_readable(one.get_cmap())


def colours_of(line):
    """What is to be seen of a line: its points, and what joins them."""
    seen = [line.get_color()] if line.get_linestyle() != "None" else []
    if line.get_marker() != "None":
        seen += [line.get_markerfacecolor(), line.get_markeredgecolor()]
    return seen


def visible(color):
    return to_rgba(color)[3] > 0


def assert_readable(shades):
    """One way from dark to bright; or two ways from the middle, to ends that every eye tells apart."""
    colours = shades(np.linspace(0, 1, 33))[:, :3]
    for deficiency in DEFICIENCIES:
        steps = np.diff([lightness(color, deficiency) for color in colours])
        if not ((steps > -0.5).all() or (steps < 0.5).all()):
            assert (steps[:14] > -0.5).all()
            assert (steps[18:] < 0.5).all()
            assert distance(colours[3], colours[-4], deficiency) > 20


@pytest.mark.parametrize("name", ["RdBu_r", "PuOr_r", "inferno"])
def test_colour_maps_of_overlays_are_readable(name):
    assert_readable(mpl.colormaps[name])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_palette_is_told_apart(deficiency):
    colours = [to_rgb(color) for color in viz.PALETTE]
    distances = [
        distance(one, other, deficiency) for place, one in enumerate(colours) for other in colours[place + 1 :]
    ]
    assert min(distances) > 10
    assert distance(colours[0], colours[1], deficiency) > 40
