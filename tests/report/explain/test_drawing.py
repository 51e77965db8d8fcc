import re

import pytest
import torch

from captum_paramsal.filters import Filter, FilterIndex
from captum_paramsal.report.explain.curves import CurveSampler
from captum_paramsal.report.explain.data import Mistake, RankedFilter
from captum_paramsal.report.explain.drawing import draw_profile, layer_bands
from captum_paramsal.report.explain.score_scale import SCORE_SCALES

FILTERS = FilterIndex({"conv1": 2, "conv2": 4})


def _mistake(scores):
    top = FILTERS.top(scores[None], 2)[0]
    ranked = tuple(RankedFilter(one, float(scores[FILTERS.index(one)])) for one in top)
    return Mistake(0, "a.png", 0, 1, 0.1, 0.9, ranked, 0, curve=CurveSampler(FILTERS)(scores[None])[0])


def _points(path):
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", path)]


def _corners(line):
    """Those of the curve, without its ends at zero."""
    corners = []
    for x, top, steps in re.findall(r"M(\d+) \d+V(\d+)(?:l([-\d ]+))?V\d+", line):
        here = [int(x), int(top)]
        corners.append(tuple(here))
        numbers = [int(step) for step in steps.split()]
        for right, down in zip(numbers[::2], numbers[1::2], strict=True):
            here = [here[0] + right, here[1] + down]
            corners.append(tuple(here))
    return corners


def test_curve_and_marks_lie_where_the_scores_say():
    scores = torch.tensor([6.0, -2.0, 1.0, 9.0, 0.0, 3.0])
    drawing = draw_profile(_mistake(scores), CurveSampler(FILTERS).places, FILTERS, 3.0)
    points = _corners(drawing.line)
    assert [x for x, _ in points] == pytest.approx([125.0, 375.0, 562.5, 687.5, 812.5, 937.5], abs=0.5)
    unit = (drawing.zero - drawing.limit) / 3
    heights = [(drawing.zero - y) / unit for _, y in points]
    assert heights == pytest.approx([6, -2, 9, 3, 1, 0], abs=0.55 / unit)
    marks = _points(drawing.marks)
    assert [(drawing.zero - y) / unit for _, y in marks] == pytest.approx([9, 6], abs=0.02)
    assert [x for x, _ in marks] == [562.5, 125.0]
    assert [tick.label for tick in drawing.ticks] == ["0", "5"]


@pytest.mark.parametrize("scores", [torch.zeros(6), -torch.ones(6), torch.full((6,), 600.0), torch.full((6,), 800.0)])
def test_flat_profiles_can_be_drawn(scores):
    drawing = draw_profile(_mistake(scores), CurveSampler(FILTERS).places, FILTERS, 3.0)
    assert all(0 <= y <= 400 for _, y in _corners(drawing.line))
    assert 2 <= len(drawing.ticks) <= 9


@pytest.mark.parametrize(
    ("layers", "common", "names"),
    [
        (["conv1", "layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1"], "", ["conv1", "layer1", "layer2"]),
        (["features.0", "features.3.squeeze", "features.3.expand", "features.4.squeeze"], "features.", ["0", "3", "4"]),
        (["stem.0", "block.conv1", "block.conv2"], "", ["stem.0", "block.conv1", "block.conv2"]),
        (["only"], "", ["only"]),
        (["net.only"], "net.", ["only"]),
        ([f"features.{i}" for i in range(40)], "features.", [str(i) for i in range(40)]),
    ],
)
def test_layers_are_grouped_by_name(layers, common, names):
    found, bands = layer_bands(FilterIndex(dict.fromkeys(layers, 2)))
    assert found == common
    assert [band.name for band in bands] == names
    assert sum(band.share for band in bands) == pytest.approx(100, abs=0.1)
    assert bands[-1].start + bands[-1].width == pytest.approx(1000, abs=0.1)


def test_sampled_curves_keep_both_ends_of_every_layer():
    filters = FilterIndex({"a": 512, "b": 3, "c": 2048})
    torch.manual_seed(0)
    scores = torch.randn(2, len(filters))
    sampler = CurveSampler(filters, points=30)
    for row, curve in zip(scores, sampler(scores), strict=True):
        for name, part in filters.split(row).items():
            layer = filters.layers.index(name)
            here = [y for x, y in zip(sampler.places, curve, strict=True) if layer <= x < layer + 1]
            assert here[0] == pytest.approx(float(part.max()), abs=0.006)
            assert here[-1] == pytest.approx(float(part.min()), abs=0.006)
            assert here == sorted(here, reverse=True)
            assert len(here) <= 10


def test_marks_of_two_filters_in_one_layer():
    mistake = Mistake(
        0, "a", 0, 1, 0.1, 0.9, (RankedFilter(Filter("conv2", 1), 9.0), RankedFilter(Filter("conv2", 3), 8.0)), 0,
        curve=(0.0,) * 6,
    )  # fmt: skip
    drawing = draw_profile(mistake, CurveSampler(FILTERS).places, FILTERS, 3.0)
    assert [x for x, _ in _points(drawing.marks)] == [562.5, 687.5]


def test_scores_beyond_the_end_of_a_tail_do_not_flatten_the_others():
    with_end = torch.tensor([6.0, 0.0, 1.0, 9.0, 0.0, 750.0])
    drawing = draw_profile(_mistake(with_end), CurveSampler(FILTERS).places, FILTERS, 3.0)
    unit = (drawing.zero - drawing.limit) / 3
    heights = [(drawing.zero - y) / unit for _, y in _corners(drawing.line)]
    assert heights == pytest.approx([6, 0, 9 * 1.04, 9, 1, 0], abs=0.55 / unit)
    assert drawing.ticks[-1].label == "8"


def test_limit_of_significance_falls_with_the_number_of_significant_filters():
    """As Benjamini and Hochberg's procedure does: k filters are significant at p-values up to 0.05 k / F."""
    nats = SCORE_SCALES["pot"]
    generator = torch.Generator().manual_seed(0)
    p_values = torch.rand(60, 200, generator=generator, dtype=torch.float64) ** torch.linspace(1, 9, 60)[:, None]
    for scores, found in zip(-p_values.log(), nats.unusual(-p_values.log()), strict=True):
        limit = nats.limit(int(found.sum()), 200)
        assert torch.equal(scores >= limit, found)


@pytest.mark.parametrize("counts", [{"conv1": 0, "conv2": 4}, {"conv1": 1, "conv2": 0}, {"conv1": 0, "conv2": 0}])
def test_filters_without_a_score_have_no_mark(counts):
    living = FilterIndex(counts)
    named = tuple(RankedFilter(one, 0.0) for one in FILTERS)
    mistake = Mistake(0, "a.png", 0, 1, 0.1, 0.9, named, 0, curve=(0.0,) * 6)
    drawing = draw_profile(mistake, CurveSampler(FILTERS).places, living, 0.0)
    assert len(_points(drawing.marks)) == sum(counts.values())


def test_a_simplified_curve_is_close_to_all_of_its_points():
    filters = FilterIndex({"a": 300, "b": 1, "c": 64})
    scores = torch.randn(len(filters), generator=torch.Generator().manual_seed(0)).exp()
    sampler = CurveSampler(filters)
    curve = sampler(scores[None])[0]
    mistake = Mistake(0, "a.png", 0, 1, 0.1, 0.9, (), 0, curve=curve)
    drawing = draw_profile(mistake, sampler.places, filters, 3.0)
    corners = _corners(drawing.line)
    assert len(corners) < len(curve) / 2
    unit = (drawing.zero - drawing.limit) / 3
    layers = [[corner for corner in corners if corner[0] * 3 // 1001 == number] for number in range(3)]
    for place, score in zip(sampler.places, curve, strict=True):
        point = torch.tensor([place * 1000 / 3, drawing.zero - unit * score])
        layer = torch.tensor(layers[int(place)], dtype=torch.float)
        starts, ends = (layer[:-1], layer[1:]) if len(layer) > 1 else (layer, layer)
        along = ends - starts
        share = ((point - starts) * along).sum(1) / (along**2).sum(1).clamp(min=1e-9)
        distance = (starts + share.clamp(0, 1)[:, None] * along - point).norm(dim=1).min()
        assert distance <= 1.0 + 0.5**0.5 + 0.1
