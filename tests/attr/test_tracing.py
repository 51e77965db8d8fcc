"""Tracing a decision back to the pixels: every neuron, pixel, box and heat map equals the slow twin's."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from cases import real_models as real
from cases.plain_models import plain_convolution, plain_of
from cases.tracing_cases import TRACING_CASES, TracingCase, random_case
from cases.tracing_networks import conv, gap
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from oracles import discernible_neurons as oracle, plain_network as plain
from torch import nn

from captum_paramsal import CNNFixations, DiscernibleNeurons, TraceWeights
from captum_paramsal.errors import InputError, ParamsalError, TargetError

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

METHODS = {
    "current and preceding": oracle.Method(),
    "current alone": oracle.Method(preceding=0.0),
    "three of each": oracle.Method(current=0.7, preceding=0.3, succeeding=2.0, top_k=3, linear_top_k=3, places=5),
    "preceding above all": oracle.Method(current=0.1, preceding=2.0, top_k=2, linear_top_k=20, places=60),
    "fixations": oracle.FIXATIONS,
}
USUAL, RARE = "current and preceding", {"current alone", "preceding above all"}
BATCHED = ["flatten and linear layers", "residual in place", "fire modules", "dense", "inverted residuals"]


def built(model, method, **options):
    """The package's method for what the slow twin does."""
    if method.fixations:
        return CNNFixations(model)
    weights = TraceWeights(current=method.current, preceding=method.preceding, succeeding=method.succeeding)
    counts = {"top_k": method.top_k, "linear_top_k": method.linear_top_k, "places": method.places}
    return DiscernibleNeurons(model, weights, **counts, **options)


@cache
def slow(name, method, classes):
    """The slow twin's traces of a case's images for these classes."""
    case = TRACING_CASES[name]()
    images = zip(case.images, classes, strict=True)
    return [oracle.trace(case.network, image.numpy(), c, METHODS[method]) for image, c in images]


def predicted(case):
    return case.model(case.images).argmax(dim=1)


def neurons_of(layer, image):
    """``{(channel, y, x): (score, current, preceding, succeeding)}`` of one image; a neuron stands there once."""
    mine = (layer.image == image).nonzero()[:, 0]
    places = list(zip(*(getattr(layer, axis)[mine].tolist() for axis in ("channel", "y", "x")), strict=True))
    assert len(set(places)) == len(places), "a neuron twice"
    supports = (
        getattr(layer, part)[mine].double().tolist() for part in ("score", "current", "preceding", "succeeding")
    )
    return dict(zip(places, zip(*supports, strict=True), strict=True))


def assert_same_neurons(model, layers, expected):
    """Layer by layer from the logits down, so that the first difference is the first to be wrong."""
    assert next(iter(layers)) == "output"
    assert list(layers)[-1] == "input"
    weighted = {name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    for number, trace in enumerate(expected):
        for name in reversed(trace.layers):
            where = f"image {number}, layer {name}"
            if name not in layers:
                assert name not in weighted or not trace.layers[name], f"{where}: not in the trace"
                continue
            got, wanted = neurons_of(layers[name], number), trace.layers[name]
            missing, surplus = sorted(set(wanted) - set(got)), sorted(set(got) - set(wanted))
            assert not missing, f"{where}: misses {missing[:5]} of {len(wanted)}, has {surplus[:5]}"
            assert not surplus, f"{where}: has {surplus[:5]} beside the {len(wanted)}"
            assert_same_supports(got, wanted, where)


def assert_same_supports(got, wanted, where):
    places = sorted(wanted)
    ours = np.array([got[place] for place in places]).reshape(-1, 4)
    theirs = np.array([supports_of(wanted[place]) for place in places]).reshape(-1, 4)
    known = ~np.isnan(theirs[:, 0])  # the target's logit was not selected by anything
    for column, part in enumerate(("score", "current", "preceding", "succeeding")):
        scale = np.abs(theirs[known, column]).max(initial=0.0)
        np.testing.assert_allclose(
            ours[known, column], theirs[known, column], rtol=1e-9, atol=1e-12 * scale, err_msg=f"{where}: {part}"
        )


def supports_of(neuron):
    return neuron.score, neuron.current, neuron.preceding, neuron.succeeding


def assert_same_picture(trace, expected):
    """Pixels, boxes and heat maps of all images."""
    heat, boxes = trace.heatmap(), trace.boxes()
    assert boxes.shape == (len(expected), 4)
    assert boxes.dtype == torch.float64
    points = list(zip(*(getattr(trace.pixels, key).tolist() for key in ("image", "y", "x")), strict=True))
    assert points == sorted(set(points))
    for number, wanted in enumerate(expected):
        assert [(y, x) for n, y, x in points if n == number] == sorted(wanted.points), f"image {number}"
        scores = trace.pixels.score[trace.pixels.image == number].double().numpy()
        theirs = np.array([wanted.points[at] for at in sorted(wanted.points)])
        known = ~np.isnan(theirs)
        np.testing.assert_allclose(scores[known], theirs[known], rtol=1e-9, err_msg=f"image {number}")
        box = [float("nan")] * 4 if wanted.box is None else [float(side) for side in wanted.box]
        np.testing.assert_array_equal(boxes[number].numpy(), box, err_msg=f"image {number}")
        np.testing.assert_allclose(heat[number].double().numpy(), wanted.heat, rtol=0, atol=1e-9)


def networks_and_methods():
    """The usual weights on networks of several branches; three of each and the fixations in turn on all."""
    for number, name in enumerate(TRACING_CASES):
        quick = {("three of each", "fixations")[number % 2]} | ({USUAL} if name in BATCHED else set())
        for method in METHODS:
            yield pytest.param(name, method, marks=[] if method in quick else pytest.mark.slow)


@pytest.mark.parametrize(("name", "method"), list(networks_and_methods()))
def test_small_networks(name, method):
    case = TRACING_CASES[name]()
    trace = built(case.model, METHODS[method]).trace(case.images)  # the prediction
    assert torch.equal(trace.labels, predicted(case))
    assert tuple(trace.shape) == tuple(case.images.shape)
    expected = slow(name, method, tuple(predicted(case).tolist()))
    assert all(found.kept for found in expected), "nothing to compare"
    assert_same_neurons(case.model, trace.layers, expected)
    assert_same_picture(trace, expected)


SEVERAL = {("flatten and linear layers", 2, USUAL), ("residual in place", 3, "three of each")}


@pytest.mark.parametrize(
    ("name", "classes", "method"),
    [
        pytest.param(*case, marks=[] if case in SEVERAL else pytest.mark.slow)
        for case in product(TRACING_CASES, (2, 3), (USUAL, "three of each"))
    ],
)
def test_from_the_classes_with_the_highest_softmax(name, classes, method):
    case = TRACING_CASES[name]()
    trace = built(case.model, METHODS[method], classes=classes).trace(case.images, internal_batch_size=2)
    softmax = case.model(case.images).softmax(dim=1)
    assert torch.equal(trace.labels, softmax.argmax(dim=1))
    highest = softmax.topk(classes, dim=1).indices
    expected = [
        oracle.trace(case.network, image.numpy(), row.tolist(), METHODS[method])
        for image, row in zip(case.images, highest, strict=True)
    ]
    assert_same_neurons(case.model, trace.layers, expected)
    assert_same_picture(trace, expected)


def test_what_several_classes_do_not_go_with():
    case = TRACING_CASES["flatten and linear layers"]()
    with pytest.raises(TargetError, match="no `target`, since the trace starts from the 2 classes"):
        DiscernibleNeurons(case.model, classes=2).trace(case.images, target=0)
    with pytest.raises(InputError, match="at least 99 classes to start from, got one of 4"):
        DiscernibleNeurons(case.model, classes=99).trace(case.images)
    with pytest.raises(ParamsalError, match="`classes` to be a whole number from 1 up, got 0"):
        DiscernibleNeurons(case.model, classes=0)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", TRACING_CASES)
@pytest.mark.parametrize("shift", [1, 2, 3])
def test_every_other_class(name, method, shift):
    case = TRACING_CASES[name]()
    classes = (predicted(case) + shift) % 4
    trace = built(case.model, METHODS[method]).trace(case.images, target=classes)
    expected = slow(name, method, tuple(classes.tolist()))
    assert_same_neurons(case.model, trace.layers, expected)
    assert_same_picture(trace, expected)


def assert_random(seed, methods, *, integers):
    case = random_case(seed, integers=integers)
    classes = (predicted(case) + seed) % 4
    for method in methods:
        expected = [
            oracle.trace(case.network, image.numpy(), int(c), method)
            for image, c in zip(case.images, classes, strict=True)
        ]
        trace = built(case.model, method).trace(case.images, target=classes)
        assert_same_neurons(case.model, trace.layers, expected)
        assert_same_picture(trace, expected)


@pytest.mark.parametrize("integers", [False, True], ids=["real numbers", "many equal integers"])
class TestRandomNetworks:
    @pytest.mark.parametrize("seed", range(3))
    def test_a_few(self, seed, integers):
        assert_random(seed, [METHODS["three of each"], METHODS["fixations"]], integers=integers)

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(150))
    def test_many(self, seed, integers):
        assert_random(seed, METHODS.values(), integers=integers)


@pytest.mark.parametrize("method", ["three of each", "fixations"])
@pytest.mark.parametrize("name", BATCHED)
def test_attributions_are_the_heat_map_in_every_channel(name, method):
    case = TRACING_CASES[name]()
    maps = built(case.model, METHODS[method]).attribute(case.images)
    assert maps.shape == case.images.shape
    for image, wanted in zip(maps, slow(name, method, tuple(predicted(case).tolist())), strict=True):
        for channel in image:
            np.testing.assert_allclose(channel.double().numpy(), wanted.heat, rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["three of each", "fixations"])
@pytest.mark.parametrize("name", BATCHED)
def test_a_batch_equals_its_images_one_by_one(name, method):
    case = TRACING_CASES[name]()
    tracer, classes = built(case.model, METHODS[method]), [2, 0, 3]
    together = tracer.trace(case.images, target=classes)
    for number in range(len(case.images)):
        alone = tracer.trace(case.images[number : number + 1], target=classes[number])
        for layer in together.layers:
            # A layer that this image never reaches may be left out of its trace.
            mine = neurons_of(alone.layers[layer], 0) if layer in alone.layers else {}
            ours = neurons_of(together.layers[layer], number)
            assert sorted(mine) == sorted(ours), f"image {number}, layer {layer}"
            pairs = [(mine[place], ours[place]) for place in mine]
            np.testing.assert_allclose([a for a, _ in pairs], [b for _, b in pairs], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(alone.heatmap()[0], together.heatmap()[number], rtol=0, atol=1e-12)
        torch.testing.assert_close(alone.boxes()[0], together.boxes()[number], equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "dense")) for n in BATCHED])
def test_order_and_parts_of_a_batch(name):
    case = TRACING_CASES[name]()
    tracer, classes = built(case.model, METHODS["three of each"]), torch.tensor([2, 0, 3])
    maps = tracer.attribute(case.images, target=classes)
    turned = tracer.attribute(case.images.flip(0), target=classes.flip(0))
    torch.testing.assert_close(turned.flip(0), maps, rtol=0, atol=1e-12)
    parts = tracer.attribute(case.images, target=classes, internal_batch_size=2)
    torch.testing.assert_close(parts, maps, rtol=0, atol=1e-12)
    whole, pieces = tracer.trace(case.images, classes), tracer.trace(case.images, classes, internal_batch_size=2)
    for layer, neurons in whole.layers.items():
        for number in range(3):
            assert sorted(neurons_of(pieces.layers[layer], number)) == sorted(neurons_of(neurons, number))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 4.0, 100.0])
def test_width_of_the_blur(sigma):
    case = TRACING_CASES["fire modules"]()
    classes = predicted(case)
    trace = built(case.model, METHODS["current alone"]).trace(case.images, target=classes)
    for number, image in enumerate(case.images):
        wanted = oracle.trace(
            case.network, image.numpy(), int(classes[number]), METHODS["current alone"], sigma=sigma
        ).heat
        np.testing.assert_allclose(trace.heatmap(sigma=sigma)[number].numpy(), wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", BATCHED)
def test_the_succeeding_weight_changes_no_ranking(name):
    case = TRACING_CASES[name]()
    few, many = (
        built(case.model, replace(METHODS["three of each"], succeeding=weight)).trace(case.images, target=[0, 1, 2])
        for weight in (0.1, 5.0)
    )
    assert list(few.layers) == list(many.layers)
    for layer in few.layers:
        for number in range(3):
            assert sorted(neurons_of(few.layers[layer], number)) == sorted(neurons_of(many.layers[layer], number))
    torch.testing.assert_close(few.heatmap(), many.heatmap(), rtol=0, atol=0)


@pytest.mark.parametrize("method", ["current alone", "fixations"])
def test_nothing_speaks_for_a_class(method):
    # The first class has no positive weight: its trace ends at once, beside another image's that does not.
    model = nn.Sequential(*conv(3, 4), *gap(4)).double()
    with torch.no_grad():
        model[-1].weight[0] = -1
        model[-1].weight[1] = 1
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    tracer = built(model, METHODS[method])
    trace = tracer.trace(images, target=[0, 1])
    assert (trace.pixels.image == 1).all()
    assert len(trace.pixels.image) > 0
    assert trace.boxes()[0].isnan().all()
    assert not trace.heatmap()[0].any()
    assert float(trace.heatmap()[1].max()) == 1
    assert not tracer.attribute(images, target=[0, 1])[0].any()


def test_only_neurons_that_are_off_speak_for_a_class():
    # Of the pixel's colours the positive one speaks against the class, the negative one for it.
    model = nn.Sequential(nn.Conv2d(2, 1, 1, bias=False), *gap(1, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[[[-1.0]], [[-2.0]]]]))
        model[-1].weight.fill_(1)
    image = torch.tensor([1.0, -1.0]).double().view(1, 2, 1, 1)
    found = built(model, METHODS["three of each"]).trace(image, target=0).layers["input"]
    assert found.channel.tolist() == [1]
    assert found.current.tolist() == [2]


def test_a_depthwise_channel_below_zero_leads_on():
    # The sum is negative and the depthwise weight positive: what made it negative is followed, not lost in the sum.
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 2, 1, bias=False)
            self.depthwise, self.head = nn.Conv2d(2, 2, 1, groups=2), nn.Linear(2, 2, bias=False)

        def forward(self, x):
            maps = self.first(x) + self.second(x)
            return self.head(self.depthwise(maps).mean((2, 3)))

    model = Net().double()
    with torch.no_grad():
        model.first.weight.fill_(-1)
        model.second.weight.fill_(-2)
        model.depthwise.weight.fill_(1)
        model.depthwise.bias.fill_(10)
        model.head.weight.fill_(1)
    image = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    trace = built(model, METHODS["three of each"]).trace(image, target=0)
    assert len(trace.layers["second"]) > 0
    assert len(trace.layers["first"]) == 0
    assert len(trace.layers["input"]) > 0


def per_axis(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def geometries(draw):
    """A convolution of one channel and the size of its input."""
    kernel, dilation, size = draw(per_axis(1, 5)), draw(per_axis(1, 3)), draw(per_axis(1, 12))
    padding = draw(st.one_of(per_axis(0, 4), st.sampled_from(["same", "valid"])))
    stride = (1, 1) if padding == "same" else draw(per_axis(1, 4))
    layer = nn.Conv2d(1, 1, kernel, stride, padding, dilation, bias=False).double()
    around = plain_convolution(layer, "").around
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    assume(all(n + before + after >= span for n, (before, after), span in zip(size, around, spans, strict=True)))
    return layer, size


def receptive_field(layer, size, y, x):
    """Where the output at (y, x) reads the input and what lies around it: first and last row, first and last column.

    By autograd, on an input so large that nothing of the receptive field hangs over its border.
    """
    before = [around[0] for around in plain_convolution(layer, "").around]
    margin = 20
    wide = torch.ones(1, 1, *(n + 2 * margin for n in size), dtype=torch.float64, requires_grad=True)
    start = [margin - b for b in before]
    padded = wide[:, :, start[0] :, start[1] :]
    output = nn.functional.conv2d(padded, torch.ones_like(layer.weight), None, layer.stride, 0, layer.dilation)
    (gradient,) = torch.autograd.grad(output[0, 0, y, x], wide)
    rows, columns = gradient[0, 0].nonzero().T - margin
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


@given(geometries())
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_centres_of_receptive_fields(geometry):
    layer, size = geometry
    with torch.no_grad():
        layer.weight.fill_(1.0)
    image = torch.ones(1, 1, *size, dtype=torch.float64)
    output = layer(image)[0, 0]
    model = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    places = [(y, x) for y, x in np.ndindex(*output.shape) if output[y, x] > 0]
    assume(places)
    expected = set()
    for y, x in places:
        top, bottom, left, right = receptive_field(layer, size, y, x)
        row, column = (top + bottom) // 2, (left + right) // 2
        expected.add((min(max(row, 0), size[0] - 1), min(max(column, 0), size[1] - 1)))
    method = replace(METHODS["current alone"], places=10_000)
    trace = built(model, method).trace(image, target=0)
    assert set(zip(trace.pixels.y.tolist(), trace.pixels.x.tolist(), strict=True)) == expected
    slow_twin = oracle.trace(plain_of(model, ""), image[0].numpy(), 0, method)
    assert set(slow_twin.points) == expected


def real_case(name, data, count):
    if name == "SqueezeNet":
        model, (images, _) = real.squeezenet(data), real.imagenet(data, count)
    else:
        model, (images, _) = real.resnet20(data), real.cifar10(data, count)
    model = model.double().requires_grad_(False)
    return TracingCase(model, plain_of(model, ""), images.double())


def assert_real(name, data, method, count):
    case = real_case(name, data, count)
    classes = predicted(case)
    trace = built(case.model, method).trace(case.images, target=classes)
    expected = [
        oracle.trace(case.network, x.numpy(), int(c), method) for x, c in zip(case.images, classes, strict=True)
    ]
    assert_same_neurons(case.model, trace.layers, expected)
    assert_same_picture(trace, expected)


@pytest.mark.data
class TestRealNetworks:
    def test_squeezenet(self, paramsal_data):
        assert_real("SqueezeNet", paramsal_data, replace(METHODS["current and preceding"], places=5), 1)

    def test_squeezenet_fixations(self, paramsal_data):
        assert_real("SqueezeNet", paramsal_data, METHODS["fixations"], 3)

    def test_resnet20(self, paramsal_data):
        assert_real("ResNet-20", paramsal_data, METHODS["current and preceding"], 2)

    def test_resnet20_fixations(self, paramsal_data):
        assert_real("ResNet-20", paramsal_data, METHODS["fixations"], 6)

    @pytest.mark.slow
    @pytest.mark.parametrize("method", METHODS)
    def test_more_images_of_squeezenet(self, paramsal_data, method):
        few = replace(METHODS[method], places=min(METHODS[method].places, 10))
        assert_real("SqueezeNet", paramsal_data, few, 4)

    @pytest.mark.slow
    @pytest.mark.parametrize("method", METHODS)
    def test_more_images_of_resnet20(self, paramsal_data, method):
        assert_real("ResNet-20", paramsal_data, METHODS[method], 20)


@pytest.mark.parametrize("count", [1, 18, 19, 20, 21, 60, 400])
def test_points_without_company(count):
    # Pixels scattered at random by a network that reads nothing but the pixel: as many places as are positive.
    generator = np.random.default_rng(count)
    image = np.full((1, 1, 41, 53), -1.0)
    image.reshape(-1)[generator.choice(41 * 53, size=count, replace=False)] = generator.uniform(1, 2, count)
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    method = replace(METHODS["current alone"], places=count)
    trace = built(model, method).trace(torch.from_numpy(image), target=0)
    expected = oracle.trace(plain_of(model.requires_grad_(False), ""), image[0], 0, method)
    assert len(expected.points) == count
    assert_same_picture(trace, [expected])


def test_plain_network_of_every_case_names_the_modules_layers():
    for make in TRACING_CASES.values():
        case = make()
        named = {node.operation.name for node in plain.flat(case.network)}
        layers = {n for n, m in case.model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.BatchNorm2d)}
        assert layers <= named
