"""The slow Model Doctor itself: against calculations by hand, and on two other roads."""

import math
from itertools import combinations

import pytest
import torch
from captum.attr import LayerGradientXActivation
from cases import tracing_networks as parts
from cases.images import image
from oracles import model_doctor as doctor
from oracles.model_doctor import Rules
from oracles.weights import seeded
from torch import nn
from torch.func import grad, vmap

# One image of 2 x 2 pixels; the network sees it and its negative, rectified.
PICTURE = torch.tensor([[[[1.0, -2.0], [3.0, 4.0]]]], dtype=torch.float64)
WEIGHTS = [[8.0, -4.0], [2.0, 12.0]]


def two_sided(*, in_place=False):
    """m = (x, -x), then ReLU, global average, two classes."""
    convolution, linear = nn.Conv2d(1, 2, 1, bias=False), nn.Linear(2, 2, bias=False)
    convolution.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    linear.weight.data = torch.tensor(WEIGHTS)
    return nn.Sequential(convolution, nn.ReLU(in_place), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear).double().eval()


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(), [[[2, 0], [2, 2]], [[0, 1], [0, 0]]]),
        (Rules(reduce="relu"), [[[2, 0], [2, 2]], [[0, 0], [0, 0]]]),
        (Rules(multiply_by_inputs=True), [[[2, 0], [6, 8]], [[0, 2], [0, 0]]]),
        (Rules(reduce="relu", multiply_by_inputs=True), [[[2, 0], [6, 8]], [[0, 0], [0, 0]]]),
    ],
    ids=str,
)
def test_a_weight_over_the_places_where_the_channel_is_active(rules, expected, in_place):
    maps = doctor.evidence(two_sided(in_place=in_place), PICTURE, [0], "0", rules=rules)
    assert maps.tolist() == [expected]


def test_the_input_of_a_layer():
    net = two_sided(in_place=True)
    at_input = doctor.evidence(net, PICTURE, [0], "1", rules=Rules(layer_input=True))
    assert torch.equal(at_input, doctor.evidence(net, PICTURE, [0], "0"))
    assert doctor.evidence(net, PICTURE, [0], "1").tolist() == [[[[2, 2], [2, 2]], [[1, 1], [1, 1]]]]


def test_a_disturbance_may_switch_a_place_on():
    disturbances = torch.zeros(4, 2, 2, 2, dtype=torch.float64)
    disturbances[1, 0, 0, 1] = 3  # from -2 to 1
    disturbances[2, 1, 0, 0] = 0.5  # from -1 to -0.5
    maps = doctor.evidence(two_sided(), PICTURE, [0], "0", disturbances)
    assert maps.tolist() == [[[[2, 0.5], [2, 2]], [[0, 1], [0, 0]]]]
    times = doctor.evidence(two_sided(), PICTURE, [0], "0", disturbances, rules=Rules(multiply_by_inputs=True))
    assert times.tolist() == [[[[2, 0.5 * 2], [6, 8]], [[0, 2], [0, 0]]]], "times the map without disturbance"


def test_no_disturbances_are_one_pass():
    none = torch.zeros(0, 2, 2, 2, dtype=torch.float64)
    expected = doctor.evidence(two_sided(), PICTURE, [1], "0")
    assert torch.equal(doctor.evidence(two_sided(), PICTURE, [1], "0", none), expected)


def test_the_absolute_value_is_taken_before_the_mean():
    square = nn.Sequential(nn.Identity(), Square())
    maps = doctor.evidence(square, tensor(1.0, -3.0).view(1, 1, 1, 2), [0], "0", tensor(2, -2).view(2, 1, 1, 1))
    # gradients 2 (m + e): 6 and -2 at the first place, -2 and -10 at the second
    assert maps.flatten().tolist() == [4, 6]
    positive = doctor.evidence(
        square, tensor(1.0, -3.0).view(1, 1, 1, 2), [0], "0", tensor(2, -2).view(2, 1, 1, 1), rules=Rules("relu")
    )
    assert positive.flatten().tolist() == [3, 0]


class Square(nn.Module):
    """Scores: the sum of squares, and its negative."""

    def forward(self, x):
        total = x.square().sum((1, 2, 3))
        return torch.stack([total, -total], dim=1)


def test_the_probability():
    # scores (0.25 * 8 * 8 - 0.25 * 4 * 2, ...) = (14, 10); the derivative of p0 is p0 p1 (w0 - w1) / 4.
    p = 1 / (1 + math.exp(-4))
    maps = doctor.evidence(two_sided(), PICTURE, None, "0", rules=Rules(score="probability"))
    scale = p * (1 - p)
    expected = tensor([[1.5, 0], [1.5, 1.5]], [[0, 4], [0, 0]]) * scale
    torch.testing.assert_close(maps[0], expected, rtol=1e-12, atol=0)


def test_a_place_of_scores_per_place():
    maps = doctor.evidence(nn.Sequential(nn.Identity(), nn.Conv2d(1, 2, 1).double()), PICTURE, [(1, 0, 1)], "0")
    assert (maps != 0).tolist() == [[[[False, True], [False, False]]]]


def test_only_what_goes_through_the_layer_counts():
    skip = nn.Sequential(parts.Residual(nn.Conv2d(1, 1, 1)), *parts.gap(1, 2)).double()
    maps = doctor.evidence(skip, PICTURE, [0], "0.body")
    torch.testing.assert_close(maps, (skip[3].weight[0, 0].abs() / 4).expand(1, 1, 2, 2))


def test_the_model_is_left_alone():
    model = seeded(nn.Sequential(*parts.conv_bn(1, 3, 1), *parts.gap(3, 2)), image(4, 1, 5, 5).float()).double().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    doctor.evidence(model, image(3, 1, 5, 5), [0, 1, 0], "0")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_signed_gradients_are_captums():
    model = seeded(nn.Sequential(*parts.conv(2, 5), *parts.conv(5, 4), *parts.gap(4)), image(4, 2, 9, 9)).double()
    x, y = image(4, 2, 9, 9), [0, 3, 2, 1]
    captum = LayerGradientXActivation(model, model[0], multiply_by_inputs=False).attribute(x, target=y)
    torch.testing.assert_close(doctor.evidence(model, x, y, "0"), captum.abs(), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(
        doctor.evidence(model, x, y, "0", rules=Rules("relu")), captum.clamp(min=0), rtol=1e-12, atol=1e-15
    )


def test_disturbances_on_another_road():
    model = seeded(nn.Sequential(*parts.conv(2, 5), *parts.conv(5, 4), *parts.gap(4)), image(4, 2, 9, 9)).double()
    x, y, e = image(3, 2, 9, 9), torch.tensor([0, 3, 2]), image(6, 5, 7, 7, seed=3)
    with torch.no_grad():
        m = model[:1](x)

    def score(value, label):
        return model[2:](value[None].relu())[0].gather(0, label[None])[0]

    each = torch.stack([vmap(grad(score))(m + one, y).abs() for one in e])
    torch.testing.assert_close(doctor.evidence(model, x, y, "0", e), each.mean(0), rtol=1e-12, atol=1e-15)


def test_channel_correlation_is_the_sum_over_places():
    assert doctor.channel_correlation(doctor.evidence(two_sided(), PICTURE, [0], "0")).tolist() == [[6, 1]]


def test_examined():
    (sample,) = doctor.examined(two_sided(), PICTURE, [1], "0")
    assert (sample.label, sample.predicted, sample.correct) == (1, 0, False)
    assert sample.confidence == pytest.approx(1 / (1 + math.exp(-4)))
    assert sample.correlation == [6, 1], "for the predicted class"


def samples(*rows):
    return [doctor.Sample(*row) for row in rows]


TABLE = samples(
    (0, 0, 0.95, [1.0, 2.0]),
    (0, 0, 0.99, [3.0, 4.0]),
    (0, 0, 0.90, [5.0, 60.0]),
    (0, 0, 0.89, [100.0, 100.0]),
    (0, 1, 0.99, [100.0, 100.0]),
    (1, 1, 0.5, [7.0, 8.0]),
)


def test_the_surest_correct_samples_of_a_class():
    matrix, counts = doctor.class_channel(TABLE, 2)
    assert counts == [3, 0]
    assert matrix[0].tolist() == [3, 22]
    assert matrix[1].isnan().all()
    matrix, counts = doctor.class_channel(TABLE, 2, samples_per_class=2)
    assert (counts, matrix[0].tolist()) == ([2, 0], [2, 3])
    matrix, counts = doctor.class_channel(TABLE, 2, confidence=0.0)
    assert (counts, matrix.tolist()) == ([4, 1], [[27.25, 41.5], [7, 8]])


def test_normalized():
    assert doctor.normalized([1.0, 3.0, 2.0]) == [0, 2 / 2.00001, 1 / 2.00001]
    assert doctor.normalized([4.0, 4.0]) == [0, 0]


def test_relevant():
    row = [0.0, 1.0, 2.0, 10.0, 3.0]
    assert doctor.relevant(row) == {3, 4}, "2 / 10.00001 is below 0.2"
    assert doctor.relevant(row, 0.05) == {1, 2, 3, 4}
    assert doctor.relevant(row, "mean") == {3}
    assert doctor.relevant([4.0, 4.0], "mean") == {0, 1}
    assert doctor.relevant([4.0, 4.0]) == set()


def test_jaccard():
    assert doctor.jaccard({1, 2, 3}, {3, 4}) == 1 / 4
    assert doctor.jaccard({1}, {1}) == 1
    assert doctor.jaccard({1}, set()) == 0
    assert math.isnan(doctor.jaccard(set(), set()))


@pytest.mark.parametrize("channels", range(1, 7))
def test_expected_jaccard_is_the_mean_over_all_pairs_of_sets(channels):
    for first in range(channels + 1):
        for second in range(first == 0, channels + 1):
            pairs = [
                doctor.jaccard(set(a), set(b))
                for a in combinations(range(channels), first)
                for b in combinations(range(channels), second)
            ]
            got = doctor.expected_jaccard(first, second, channels)
            assert got == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)
    assert math.isnan(doctor.expected_jaccard(0, 0, channels))


def test_deviation():
    assert doctor.deviation([3.0, 4.0], [4.0, 3.0]) == pytest.approx(1 - 24 / 25)
    assert doctor.deviation([3.0, 4.0], [30.0, 40.0]) == pytest.approx(0, abs=1e-15)
    assert doctor.deviation([1.0, 0.0], [0.0, 1.0]) == 1


def test_a_mask_on_a_grid_that_divides_it():
    mask = torch.zeros(4, 6)
    mask[:3, :2] = 1
    assert doctor.on_grid(mask, 2, 3).tolist() == [[1, 0, 0], [0.5, 0, 0]]
    assert torch.equal(doctor.on_grid(mask, 4, 6), mask.double())


def test_a_mask_on_a_grid_that_does_not_divide_it():
    assert doctor.on_grid(tensor([1, 0, 0]), 1, 2).tolist() == [[pytest.approx(2 / 3), 0]]
    assert doctor.on_grid(tensor([0, 1, 0]), 1, 2).tolist() == [[pytest.approx(1 / 3)] * 2]
    assert doctor.on_grid(tensor([1, 0]), 1, 3).tolist() == [[1, pytest.approx(0.5), 0]]
    mask = torch.rand(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for size in ((3, 2), (1, 1), (4, 5), (9, 8)):
        assert float(doctor.on_grid(mask, *size).mean()) == pytest.approx(float(mask.mean()), rel=1e-12)


def test_background_share():
    mask = torch.zeros(4, 4)
    mask[:, :2] = 1
    mask[0, 2] = 1  # a quarter of the cell above on the right
    evidence_map = tensor([1, 4], [2, 3])
    assert doctor.background_share(evidence_map, mask) == pytest.approx((4 * 0.75 + 3) / 10)
    assert doctor.background_share(evidence_map, torch.ones(4, 4)) == 0
    assert doctor.background_share(evidence_map, torch.zeros(4, 4)) == 1
    assert math.isnan(doctor.background_share(evidence_map * 0, mask))


# d s_0 / d m = (2, -1) on active places, d s_1 / d m = (0.5, 3); three active places in channel 0, one in channel 1.
TAIL = two_sided()[1:]
SUMS = {0: [6.0, 1.0], 1: [1.5, 3.0]}


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize(
    ("label", "options", "expected"),
    [
        (0, {}, SUMS[0][1] + SUMS[1][1]),
        (0, {"second": "all"}, SUMS[0][1] + sum(SUMS[1])),
        (1, {}, SUMS[1][0] + SUMS[0][0]),
        (1, {"first": "predicted"}, SUMS[0][1] + SUMS[0][0]),
        (0, {"rules": Rules("relu")}, 0 + SUMS[1][1]),
        (0, {"rules": Rules(multiply_by_inputs=True)}, 2.0 + 6.0),
    ],
    ids=str,
)
def test_channel_constraint(label, options, expected, requires_grad):
    relevant = torch.tensor([[True, False], [False, True]])
    maps = torch.cat([PICTURE, -PICTURE], dim=1).requires_grad_(requires_grad)
    found = doctor.channel_constraint(TAIL, maps, [label], relevant, **options)
    assert found.item() == pytest.approx(expected)


def test_constraints_are_means_over_samples_and_have_gradients():
    maps = torch.cat([PICTURE, -PICTURE], dim=1)
    relevant = torch.tensor([[True, False], [False, True]])
    both = doctor.channel_constraint(TAIL, maps.repeat(2, 1, 1, 1), [0, 1], relevant)
    assert both.item() == pytest.approx((4 + 7.5) / 2)
    (slope,) = torch.autograd.grad(both, TAIL[-1].weight)
    # |w_nk| / 4 per active place, counted as above and halved: label 0 adds (0, 1), (1, 1); label 1 adds (1, 0), (0, 0)
    assert slope.tolist() == [[0.75 / 2, -0.25 / 2], [0.75 / 2, 0.25 / 2]]


def test_space_constraint():
    maps = torch.cat([PICTURE, -PICTURE], dim=1)
    foreground = tensor([1, 0], [0.5, 1])
    assert doctor.space_constraint(TAIL, maps, [0], foreground[None]).item() == pytest.approx(1 + 0.5 * 2)
    twice = doctor.space_constraint(TAIL, maps.repeat(2, 1, 1, 1), [0, 0], torch.stack([foreground, foreground * 0]))
    assert twice.item() == pytest.approx((2 + 7) / 2)
    large = torch.nn.functional.interpolate(foreground[None, None], scale_factor=4)[0]
    assert doctor.space_constraint(TAIL, maps, [0], large).item() == pytest.approx(2)
