"""The slow tracing itself: against calculations by hand, and its plain networks against the modules."""

import math

import numpy as np
import pytest
import torch
from cases import real_models as real
from cases.plain_models import plain_of
from cases.tracing_cases import TRACING_CASES
from oracles import plain_network as plain
from oracles.discernible_neurons import (
    FIXATIONS,
    Method,
    Walk,
    blurred,
    box_around,
    centre,
    max_window,
    trace,
    with_company,
)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
RELU = plain.Pointwise(function=torch.relu)


def array(*rows):
    return np.array(rows, dtype=np.float64)


def pointwise(name, *rows):
    """A 1x1 convolution without bias; one row of weights for each output channel."""
    weight = array(*rows)[:, :, None, None]
    return plain.Convolution(weight, np.zeros(len(weight)), name=name)


def linear(name, *rows):
    return plain.Linear(array(*rows), np.zeros(len(rows)), name=name)


def head(*weights):
    """One logit, the weighted sum of a map's values in the order of channel, row, column."""
    return [plain.Flatten(), linear("head", weights)]


def scores(layer):
    return {place: neuron.score for place, neuron in layer.items()}


class TestConvolutionAndLinear:
    """One image channel, a 1x1 convolution with weights 2 and -1, ReLU, one logit.

    image   1  2     channel 0   2  4     channel 1   0  0
            3 -1                 6  0                 0  1
    """

    image = array([1, 2], [3, -1])[None]
    network = (pointwise("convolution", [2], [-1]), RELU, *head(1, 0.5, 0.1, 9, 9, 9, 9, 4))

    # Supports of the logit: 2, 2, 0.6 from channel 0 and 4 from channel 1. What precedes them: 2, 4, 6 and 1.

    def test_both_supports(self):
        found = trace(self.network, self.image, 0, Method(linear_top_k=2))
        assert scores(found.layers["convolution"]) == {(0, 1, 0): pytest.approx(6.6), (0, 0, 1): 6}
        best = found.layers["convolution"][0, 1, 0]
        assert (best.current, best.preceding, best.succeeding) == (pytest.approx(0.6), 6, 1)

    def test_the_current_support_alone_and_the_first_of_two_equal_ones(self):
        found = trace(self.network, self.image, 0, Method(preceding=0, linear_top_k=2))
        assert scores(found.layers["convolution"]) == {(1, 1, 1): 4, (0, 0, 0): 2}

    def test_neurons_that_are_off_are_candidates_where_none_is_on(self):
        image = -2 * np.ones((1, 1, 1))  # -4 and -2 behind the convolution
        found = trace((pointwise("convolution", [2], [1]), *head(-1, -2)), image, 0, Method(preceding=0))
        assert scores(found.layers["convolution"]) == {(0, 0, 0): 4, (1, 0, 0): 4}

    def test_neurons_that_are_off_are_no_candidates(self):
        found = trace(self.network, self.image, 0, Method(linear_top_k=8))
        assert set(found.layers["convolution"]) == {(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1)}

    def test_pixels(self):
        # Nothing precedes a pixel. Behind the neuron of channel 1 the only pixel is below zero: then it will do.
        found = trace(self.network, self.image, 0, Method(linear_top_k=8))
        assert scores(found.layers["input"]) == {(0, 0, 0): 2, (0, 0, 1): 4, (0, 1, 0): 6, (0, 1, 1): 1}
        assert found.points == {(0, 0): 2, (0, 1): 4, (1, 0): 6, (1, 1): 1}

    def test_pixels_below_zero_are_no_candidates_beside_one_above(self):
        # Beside the image a channel of ones with the weight 0.25 everywhere: at (1, 1) it gives less than the pixel.
        image = np.concatenate([self.image, np.ones((1, 2, 2))])
        network = (pointwise("convolution", [2, 0.25], [-1, 0.25]), *self.network[1:])
        found = trace(network, image, 0, Method(preceding=0, linear_top_k=1))
        assert scores(found.layers["convolution"]) == {(1, 1, 1): 4 * 1.25}
        assert scores(found.layers["input"]) == {(1, 1, 1): 0.25}

    def test_weights_of_the_supports(self):
        found = trace(self.network, self.image, 0, Method(current=2, preceding=0.5, succeeding=3, linear_top_k=8))
        assert scores(found.layers["convolution"]) == {
            (0, 0, 0): pytest.approx(3 * (4 + 1)),
            (0, 0, 1): pytest.approx(3 * (4 + 2)),
            (0, 1, 0): pytest.approx(3 * (1.2 + 3)),
            (1, 1, 1): pytest.approx(3 * (8 + 0.5)),
        }

    def test_fixations_take_the_single_best_of_a_map_and_pixels_of_any_sign(self):
        found = trace(self.network, self.image, 0, FIXATIONS)
        assert scores(found.layers["convolution"]) == {(1, 1, 1): 4}
        assert found.points == {(1, 1): 1}

    def test_fixations_take_every_positive_feature_of_a_vector(self):
        network = (
            plain.Flatten(),
            linear("first", [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]),
            linear("head", [1, 1, 1]),
        )
        found = trace(network, self.image, 0, FIXATIONS)
        assert scores(found.layers["first"]) == {(0, 0, 0): 1, (1, 0, 0): 3}
        assert set(found.points) == {(0, 0), (1, 0)}

    def test_no_positive_support(self):
        network = (pointwise("convolution", [2], [-1]), RELU, *head(-1, -1, -1, -1, -1, -1, -1, -1))
        for method in (Method(preceding=0), FIXATIONS):
            found = trace(network, self.image, 0, method)
            assert (found.points, found.kept, found.box) == ({}, [], None)
            assert not found.heat.any()


class TestWindows:
    """Two channels of 3x3, a 3x3 convolution of stride 2 with a border of zeros: four neurons in the corners."""

    image = np.stack([array([1, 2, 3], [4, 5, 6], [7, 8, 9]), array([9, 1, 1], [1, 0, 1], [1, 1, 1])])
    weight = np.stack([np.ones((3, 3)), 2 * np.ones((3, 3))])[None]
    convolution = plain.Convolution(weight, np.zeros(1), (2, 2), ((1, 1), (1, 1)), name="convolution")
    network = (convolution, RELU, *head(1, 1, 1, 1))

    def test_a_window_and_its_middle(self):
        # The window of neuron (0, 0) reads the upper left 2x2: 12 from channel 0, 2 * 11 from channel 1; the others
        # 16, 24 and 28 from channel 0 and 2 * 3, 2 * 3, 2 * 3 from channel 1.
        found = trace(self.network, self.image, 0, Method())
        assert scores(found.layers["input"]) == {(1, 0, 0): 22, (0, 0, 2): 16, (0, 2, 0): 24, (0, 2, 2): 28}

    def test_two_channels_for_each_neuron(self):
        found = trace(self.network, self.image, 0, Method(top_k=2))
        assert len(found.layers["input"]) == 8
        assert found.points == {(0, 0): 22, (0, 2): 16, (2, 0): 24, (2, 2): 28}

    def test_groups_see_their_own_channels(self):
        weight = np.ones((2, 1, 3, 3))
        grouped = plain.Convolution(weight, np.zeros(2), (2, 2), ((1, 1), (1, 1)), groups=2, name="convolution")
        found = trace((grouped, *head(0, 0, 0, 0, 0, 0, 1, 0)), self.image, 0, Method(preceding=0))
        assert scores(found.layers["input"]) == {(1, 2, 0): 3}

    def test_the_first_channels_are_the_first_group(self):
        image = np.array([1.0, 2, 3, 4])[:, None, None]
        grouped = plain.Convolution(np.ones((4, 2, 1, 1)), np.zeros(4), groups=2, name="convolution")
        assert scores(trace((grouped, *head(0, 1, 0, 0)), image, 0, Method(preceding=0)).layers["input"]) == {
            (1, 0, 0): 2
        }

    @pytest.mark.parametrize(
        ("kernel", "stride", "around", "dilation", "size", "expected"),
        [
            (3, 1, (1, 1), 1, 4, [0, 1, 2, 3]),
            (3, 1, (0, 0), 1, 5, [1, 2, 3]),
            (11, 4, (2, 2), 1, 31, [3, 7, 11, 15, 19, 23, 27]),  # of 3, not -2: the middle, not the corner
            (5, 2, (0, 0), 1, 9, [2, 4, 6]),
            (3, 1, (2, 2), 2, 4, [0, 1, 2, 3]),
            (4, 1, (1, 2), 1, 3, [0, 1, 2]),  # the upper of two middles
            (2, 2, (0, 0), 1, 6, [0, 2, 4]),
            (1, 1, (2, 2), 1, 2, [0, 0, 0, 1, 1, 1]),  # windows that see zeros only end at the border
        ],
    )
    def test_centres(self, kernel, stride, around, dilation, size, expected):  # noqa: PLR0917
        weight = np.ones((1, 1, kernel, 1))
        layer = plain.Convolution(weight, np.zeros(1), (stride, 1), (around, (0, 0)), (dilation, 1))
        height = plain.output(layer, [np.ones((1, size, 1))]).shape[1]
        assert [centre(layer, (1, size, 1), y, 0) for y in range(height)] == [(y, 0) for y in expected]


class TestSupports:
    def test_a_neuron_that_is_the_favourite_of_two_counts_twice(self):
        # Three hidden units that read one feature or the other: 3 and 5 prefer feature 0, 2 prefers feature 1.
        image = array([[1]], [[1]])
        network = (plain.Flatten(), linear("hidden", [3, 1], [5, 4], [1, 2]), linear("head", [1, 1, 1]))
        found = trace(network, image, 0, Method(preceding=0))
        assert {place: n.succeeding for place, n in found.layers["input"].items()} == {(0, 0, 0): 2, (1, 0, 0): 1}
        assert scores(found.layers["input"]) == {(0, 0, 0): 2 * 5, (1, 0, 0): 4}

    def test_the_favourite_is_a_neuron_that_is_on(self):
        image = array([[-1]], [[1]])
        network = (plain.Flatten(), linear("hidden", [-9, 1], [-9, 4]), linear("head", [1, 1]))
        assert trace(network, image, 0, Method()).layers["input"][1, 0, 0].succeeding == 2

    def test_preceding_support_of_a_linear_layer(self):
        # Hidden values 2 * 3 - 5 * 1 = 1 and 1 * 3 = 3; the largest single part of the first is 6.
        image = array([[3]], [[1]])
        network = (plain.Flatten(), linear("hidden", [2, -5], [1, 0]), RELU, linear("head", [1, 1]))
        found = trace(network, image, 0, Method(linear_top_k=1)).layers["hidden"]
        assert scores(found) == {(0, 0, 0): 1 + 6}

    def test_a_neuron_of_exactly_zero_is_off(self):
        # Hidden values 1 * 3 - 3 * 1 = 0, which 3 went into, and 1.
        image = array([[3]], [[1]])
        network = (plain.Flatten(), linear("hidden", [1, -3], [0, 1]), RELU, linear("head", [1, 1]))
        assert set(trace(network, image, 0).layers["hidden"]) == {(1, 0, 0)}

    def test_preceding_support_of_a_convolution_through_batch_norm(self):
        # The first convolution gives 2 - 4 = -2 and 1; batch norm, times -1 and 2, makes 2 + 4 = 6 and 2 of them.
        norm = plain.BatchNorm(array(0, 0), array(3, 3), array(-2, 4), array(4, 0), eps=1.0, name="norm")
        image = np.array([2.0, 1.0])[:, None, None]
        network = (pointwise("first", [1, -4], [0, 1]), norm, pointwise("second", [1, 1]), *head(1))
        found = trace(network, image, 0, Method(top_k=2)).layers["norm"]
        # The parts of -2 are 2 and -4; turned around, 4 is the largest. Those of 1 are 0 and 1, doubled: 2.
        assert {place: (n.current, n.preceding) for place, n in found.items()} == {(0, 0, 0): (6, 4), (1, 0, 0): (2, 2)}

    def test_batch_norm_turns_the_current_support_around(self):
        norm = plain.BatchNorm(array(0), array(0), array(-3), array(0), eps=1.0, name="norm")
        image = np.array([2.0, 1.0])[:, None, None]
        network = (pointwise("first", [1, -4]), norm, RELU, *head(1))
        found = trace(network, image, 0, Method())
        assert {place: n.current for place, n in found.layers["input"].items()} == {(1, 0, 0): 12}
        assert found.layers["norm"][0, 0, 0].gain == 1
        assert found.layers["first"][0, 0, 0].gain == -3

    def test_preceding_support_of_pools_and_sums(self):
        image = array([1, 5], [2, 4])[None]
        walk = Walk([plain.MaxPool((2, 2), (2, 2))], image, Method())
        assert walk.preceding(1, (0, 0, 0)) == 5
        assert walk.preceding(1, (0, 0, 0), gain=-1.0) == -5
        for pool in (plain.AveragePool((2, 2), (2, 2)), plain.AdaptiveAveragePool()):
            walk = Walk([pool], image, Method())
            assert walk.preceding(1, (0, 0, 0)) == 5 / 4
            assert walk.preceding(1, (0, 0, 0), gain=-2.0) == -2 * 1 / 4
        walk = Walk([plain.Add([pointwise("", [2])], [pointwise("", [-7])])], image, Method())
        assert walk.preceding(3, (0, 1, 1)) == 8
        assert walk.preceding(3, (0, 1, 1), gain=-1.0) == 28
        assert walk.preceding(0, (0, 1, 1)) == 0
        walk = Walk([plain.Add([pointwise("", [2])], [pointwise("", [-7])], sign=-1)], image, Method())
        assert walk.preceding(3, (0, 1, 1)) == 28


class TestPassing:
    image = array([1, 5], [2, 4])[None]

    def found(self, *operations, **method):
        return trace(operations, self.image, 0, Method(**method)).points

    def test_max_pool(self):
        assert set(self.found(plain.MaxPool((2, 2), (2, 2)), *head(1))) == {(0, 1)}

    def test_max_pool_takes_the_first_of_equal_values_on_the_map(self):
        pool = plain.MaxPool((2, 2), (2, 2), (1, 1), ceil_mode=True)
        assert max_window(pool, (1, 3, 3), 0, 0) == [(0, 0)]
        assert max_window(pool, (1, 3, 3), 1, 1) == [(1, 1), (1, 2), (2, 1), (2, 2)]
        equal = trace((plain.MaxPool((2, 2), (2, 2)), *head(1)), np.ones((1, 2, 2)), 0)
        assert set(equal.points) == {(0, 0)}

    def test_global_pool(self):
        head_ = (plain.AdaptiveAveragePool(), *head(1))
        assert set(self.found(*head_, places=2)) == {(0, 1), (1, 1)}
        assert len(self.found(*head_)) == 4
        assert set(trace(head_, self.image - 3.5, 0).points) == set()  # the mean is below zero: no candidate
        assert set(trace(head_, self.image - 2.5, 0).points) == {(0, 1), (1, 1)}
        assert set(trace(head_, self.image, 0, FIXATIONS).points) == {(0, 1)}

    def test_average_pool_with_several_places(self):
        image = array([1, 5, 2, 2], [2, 4, 2, 3])[None]
        found = trace((plain.AveragePool((2, 2), (2, 2)), *head(1, 1)), image, 0)
        assert set(found.points) == {(0, 1), (1, 3)}

    def test_average_pool_that_is_turned_around_leads_to_the_smallest_value(self):
        image = array([1, 5, 2, 2], [2, 4, 2, 3])[None]
        norm = plain.BatchNorm(array(0), array(0), array(-1), array(9), eps=1.0)
        found = trace((plain.AveragePool((2, 2), (2, 2)), norm, *head(1, 1)), image, 0)
        assert set(found.points) == {(0, 0), (0, 2)}

    def test_average_windows(self):
        windows = plain.AveragePool((3, 3), (2, 2), (1, 1), ceil_mode=True)
        assert plain.average_window(windows, (4, 4), 0, 1) == (range(2), range(1, 4), 9.0)
        assert plain.average_window(windows, (4, 4), 2, 2) == (range(3, 4), range(3, 4), 4.0)
        bare = plain.AveragePool((3, 3), (2, 2), (1, 1), count_include_pad=False)
        assert plain.average_window(bare, (4, 4), 0, 1) == (range(2), range(1, 4), 6.0)
        assert plain.average_window(plain.AdaptiveAveragePool((2, 3)), (5, 4), 1, 1) == (range(2, 5), range(1, 3), 6.0)

    def test_sum_follows_the_larger_side(self):
        left, right = pointwise("left", [2]), pointwise("right", [3])
        found = trace((plain.Add([left], [right]), *head(0, 1, 0, 0)), self.image, 0, Method(preceding=0))
        assert (len(found.layers["left"]), len(found.layers["right"])) == (0, 1)
        assert set(found.points) == {(0, 1)}

    def test_difference_follows_what_it_subtracts_only_below_zero(self):
        left, right = pointwise("left", [2]), pointwise("right", [-3])
        found = trace((plain.Add([left], [right], sign=-1), *head(0, 1, 0, 0)), self.image, 0, FIXATIONS)
        assert found.layers["right"][0, 0, 1].gain == -1
        assert found.points == {(0, 1): 15}

    def test_a_sum_of_nothing_positive_ends_the_trace(self):
        up = plain.Add([pointwise("left", [2])], [pointwise("right", [3])])
        turned = plain.BatchNorm(array(0), array(0), array(-1), array(100), eps=1.0)
        layers = trace((up, turned, *head(0, 1, 0, 0)), self.image, 0, FIXATIONS).layers
        assert not layers["left"]
        assert not layers["right"]

    def test_a_negative_sum_that_supports_follows_what_made_it_negative(self):
        down = plain.Add([pointwise("left", [-2])], [pointwise("right", [-3])])
        layers = trace((down, *head(0, -1, 0, 0)), self.image, 0, FIXATIONS).layers
        assert not layers["left"]
        assert layers["right"][0, 0, 1].gain == -1

    def test_cat_routes_by_channel(self):
        cat = plain.Cat([[pointwise("left", [1], [1])], [pointwise("right", [1])]])
        found = trace((cat, *head(*[0] * 8, 0, 0, 1, 0)), self.image, 0, Method(preceding=0))
        assert (set(found.layers["left"]), set(found.layers["right"])) == (set(), {(0, 1, 0)})

    def test_gate_is_a_factor(self):
        gate = plain.Gate([pointwise("trunk", [1])], [plain.AdaptiveAveragePool()])  # the mean is 3
        found = trace((gate, *head(0, 0, 1, 0)), self.image, 0, Method(preceding=0))
        assert found.layers["trunk"][0, 1, 0].gain == 3
        assert found.points == {(1, 0): 6}

    def test_every_second_place_and_more_channels(self):
        image = np.arange(1.0, 10.0).reshape(1, 3, 3)
        network = (plain.EverySecond(), plain.MoreChannels(1, 1), *head(0, 0, 0, 0, 0, 0, 1, 0, 9, 9, 9, 9))
        assert set(trace(network, image, 0).points) == {(2, 0)}

    def test_a_neuron_reached_twice_keeps_its_largest_score_and_factor(self):
        # The left side gives channel 0 a score of 2 (weight 2), the right side turns it around and gives it less.
        image = np.array([1.0])[:, None, None]
        norm = plain.BatchNorm(array(0), array(0), array(5), array(0), eps=1.0)
        first = pointwise("first", [1])
        network = (first, plain.Cat([[pointwise("left", [2])], [norm, pointwise("right", [0.1])]]), *head(1, 1))
        neuron = trace(network, image, 0, Method(preceding=0)).layers["first"][0, 0, 0]
        assert (neuron.score, neuron.gain) == (2, 5)


class TestPoints:
    def test_points_without_company(self):
        # A tenth of the diagonal of 30 x 40 is 5. Of 41 points, more than 5 % are 3.
        crowd = [(10, x) for x in range(36)]
        pair, trio = [(29, 0), (29, 5)], [(20, 0), (20, 5), (23, 4)]
        kept = with_company(sorted(crowd + pair + trio), 30, 40)
        assert set(kept) == {*crowd, (20, 0), (20, 5), (23, 4)}

    def test_twenty_points_need_company_and_nineteen_do_not(self):
        far_apart = [(10 * y, 10 * x) for y in range(4) for x in range(5)]
        pair = [(0, 0), (0, 1)]
        assert with_company([*pair, *far_apart[2:]], 60, 60) == pair
        assert with_company(far_apart[:19], 60, 60) == far_apart[:19]

    def test_where_all_points_are_apart_from_each_other_none_is_an_outlier(self):
        far_apart = [(10 * y, 10 * x) for y in range(4) for x in range(5)]
        assert with_company(far_apart, 60, 60) == far_apart

    def test_box(self):
        assert box_around([(3, 7), (5, 2), (4, 4)]) == (2, 3, 8, 6)
        assert box_around([(3, 7)]) == (7, 3, 8, 4)

    def test_heat_of_two_points(self):
        heat = blurred([(1, 1), (1, 3)], 4, 6, sigma=1.0)
        bell = math.exp(-1 / 2)  # at a distance of 1; the kernel of 3 that fits an image of 4 reaches no further
        assert heat[1] == pytest.approx(np.array([bell, 1, 2 * bell, 1, bell, 0]) / (2 * bell))
        assert heat[0] == pytest.approx(heat[1] * bell)
        assert not heat[3].any()
        assert heat.max() == 1


@pytest.mark.parametrize("name", TRACING_CASES)
class TestPlainNetworks:
    def test_logits(self, name):
        case = TRACING_CASES[name]()
        expected = case.model(case.images)
        for image, logits in zip(case.images, expected, strict=True):
            got = torch.from_numpy(plain.values(plain.flat(case.network), image.numpy())[-1][:, 0, 0])
            torch.testing.assert_close(got, logits, rtol=1e-12, atol=1e-12)

    def test_contributions_add_up(self, name):
        case = TRACING_CASES[name]()
        walk = Walk(case.network, case.images[0].numpy(), Method())
        for number, node in enumerate(walk.nodes):
            if not isinstance(node.operation, plain.Linear | plain.Convolution):
                continue
            value = walk.values[number]
            for channel in (0, len(value) - 1):
                place = channel, value.shape[1] // 2, value.shape[2] - 1
                total = sum(walk.contributions(number, place)[1]) + node.operation.bias[channel]
                assert total == pytest.approx(value[place], rel=1e-9, abs=1e-12)


WITHOUT_AVERAGES = {"batch norm of vectors", "flatten and linear layers"}


@pytest.mark.parametrize("name", [name for name in TRACING_CASES if name not in WITHOUT_AVERAGES])
def test_averages_are_those_of_the_windows(name):
    case = TRACING_CASES[name]()
    walk = Walk(case.network, case.images[0].numpy(), Method())
    averages = 0
    for number, node in enumerate(walk.nodes):
        if not isinstance(node.operation, plain.AveragePool | plain.AdaptiveAveragePool):
            continue
        source = walk.values[node.sources[0]]
        for (channel, y, x), mean in np.ndenumerate(walk.values[number]):
            rows, columns, divisor = plain.average_window(node.operation, source.shape[1:], y, x)
            total = source[channel, rows.start : rows.stop, columns.start : columns.stop].sum()
            assert total / divisor == pytest.approx(mean, rel=1e-9, abs=1e-12)
        averages += 1
    assert averages


@pytest.mark.data
@pytest.mark.parametrize("name", ["SqueezeNet", "ResNet-20"])
def test_real_networks_as_plain_ones(name, paramsal_data):
    if name == "SqueezeNet":
        model, (images, _) = real.squeezenet(paramsal_data), real.imagenet(paramsal_data, 2)
    else:
        model, (images, _) = real.resnet20(paramsal_data), real.cifar10(paramsal_data, 2)
    model, images = model.double().requires_grad_(False), images.double()
    for image, logits in zip(images, model(images), strict=True):
        got = torch.from_numpy(plain.values(plain.flat(plain_of(model, "")), image.numpy())[-1][:, 0, 0])
        torch.testing.assert_close(got, logits, rtol=1e-12, atol=1e-12)
