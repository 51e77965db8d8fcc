"""Model Doctor's attributions: equal to one image, one disturbance and one whole pass at a time."""

import math
import warnings
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from captum.attr import LayerGradientXActivation
from cases import doctor_networks as nets, networks, tracing_networks as parts
from cases.doctor_cases import CASES, DENSE, Case, case, drawn_for, flat
from cases.images import image
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from oracles import model_doctor as oracle
from oracles.deviation import assert_exact
from oracles.weights import seeded
from torch import nn
from torch.func import grad, vmap

from captum_paramsal import ModelDoctor
from captum_paramsal.errors import LayerError, ParamsalError, WholePassesWarning
from captum_paramsal.functional import disturbances

UNCLEAR = ("two inputs, unclear options", "sizes before, length")
whole_passes = pytest.mark.filterwarnings("ignore::captum_paramsal.WholePassesWarning")


def marked(names, slow=()):
    kinds = ((whole_passes, UNCLEAR), (pytest.mark.slow, slow))
    return [pytest.param(name, marks=[mark for mark, where in kinds if name in where]) for name in names]


@pytest.mark.parametrize("name", marked(CASES, slow=list(CASES)[1::2]))
def test_every_network(name):
    one = CASES[name]()
    one.check(one.layers[0], noise_samples=0)
    for n, layer in enumerate(one.layers[:2]):
        one.check(layer, noise_samples=2, noise="normal" if n % 2 else "uniform", noise_range=0.5, seed=n)


@pytest.mark.slow
@pytest.mark.parametrize("name", marked(CASES))
def test_every_layer_of_every_network(name):
    one = CASES[name]()
    for layer in one.layers:
        one.check(layer, noise_samples=0)
        one.check(layer, noise_samples=7, noise_range=2.0)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_scores_per_place(name, score):
    one = DENSE[name]()
    for layer in one.layers:
        one.check(layer, score=score)
    together = replace(one, target=one.target[0])
    same = replace(one, target=[one.target[0]] * 3)
    for layer in one.layers:
        expected = flat(layer, same.found(layer, {}))
        assert_exact("one place for all", flat(layer, together.found(layer, {})), expected)


WAYS = [
    *[{"reduce": r, "multiply_by_inputs": m} for r in ("abs", "relu") for m in (False, True)][1:],
    *[{"score": "probability"}, {"score": "probability", "reduce": "relu", "multiply_by_inputs": True}],
    *[{"noise_range": 0.0}, {"noise_samples": 1, "noise_range": 2.0}, {"noise": "normal", "seed": 5}],
]
OF_ALL_KINDS = ("written over", "blocks in place", "two pictures", "small squeezenet")
MORE_KINDS = (
    *("small vgg", "class scores, relu, pool", "class scores, less the mean", "sizes before, rows"),
    "two inputs, unclear options",
)
KINDS = marked((*OF_ALL_KINDS, *MORE_KINDS), slow=MORE_KINDS)


def every_second(name, values):
    """``name`` with each of ``values`` on every kind of network; each is on half of the kinds in the default run."""
    cases = []
    for at, kind in enumerate(KINDS):
        for number, value in enumerate(values):
            marks = [*kind.marks, *([pytest.mark.slow] * ((at + number) % 2))]
            cases.append(pytest.param(*kind.values, value, id=f"{kind.values[0]}-{value}", marks=marks))
    return pytest.mark.parametrize(("name", name), cases)


@every_second("way", WAYS)
def test_every_option(name, way):
    one = CASES[name]()
    one.check(one.layers[-1], **way)


@every_second("size", [1, 2, 4, 100])
def test_internal_batch_size_changes_nothing(name, size):
    one = CASES[name]()
    one.check(one.layers[0], noise_samples=5, internal_batch_size=size)


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_gives_what_its_images_give(name):
    one = CASES[name]()
    inputs = one.inputs if isinstance(one.inputs, tuple) else (one.inputs,)
    count = len(inputs[0])
    for layer in one.layers[:2]:
        together = one.found(layer, {"seed": 3})
        for n in range(count):
            x = tuple(oracle.rows(value, n, count) for value in inputs)
            extra = tuple(oracle.rows(value, n, count) for value in one.extra)
            single = ModelDoctor(one.model, layer, seed=3).attribute(x, one.target[n : n + 1], extra or None)
            assert isinstance(single, tuple)
            maps = together[0] if isinstance(together, tuple) else together
            assert_exact(f"image {n}", flat(layer, single[0]), flat(layer, maps[n : n + 1]))


def test_defaults():
    one = CASES["straight"]()
    expected = one.expected("0", drawn_for(one.size("0")))
    for doctor in (ModelDoctor(one.model, "0"), ModelDoctor(one.model, one.model[0], 10, 0.1)):
        assert doctor.layer_names == ("0",)
        assert_exact("defaults", flat("0", doctor.attribute(one.inputs, one.target)), flat("0", expected))
    assert_exact(
        "noise",
        flat("0", ModelDoctor(one.model, "0", 4, 0.3).attribute(one.inputs, one.target)),
        flat("0", one.expected("0", disturbances(4, one.size("0"), 0.3, "uniform", 0).double())),
    )


@pytest.mark.parametrize("name", ["straight", "small squeezenet", "class scores, less the mean"])
def test_no_target_is_the_prediction_of_the_undisturbed_network(name):
    one = CASES[name]()
    with torch.no_grad():
        predicted = one.model(one.inputs).argmax(1)
    for layer in one.layers[:2]:
        replace(one, target=None).check(layer, noise_samples=4, noise_range=3.0)
        maps = replace(one, target=None).found(layer, {})
        assert torch.equal(maps, replace(one, target=predicted).found(layer, {}))


def test_targets_of_every_kind():
    one = replace(CASES["straight"](), target=[2, 2, 2])
    expected = one.found("0", {})
    for target in (2, torch.tensor(2), torch.tensor([2]), torch.tensor([2, 2, 2]), [2, 2, 2], (2,), [(2,)] * 3):
        assert torch.equal(replace(one, target=target).found("0", {}), expected)


def analytic(channels=5, classes=3):
    """Convolution, ReLU, global average, linear."""
    parts = nn.Conv2d(2, channels, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return seeded(nn.Sequential(*parts, nn.Linear(channels, classes)).double()), image(4, 2, 7, 6)


def test_weight_over_places_where_active():
    model, x = analytic()
    y = torch.tensor([0, 2, 1, 1])
    with torch.no_grad():
        active = model[0](x) > 0
    expected = active * model[4].weight[y].detach().abs()[:, :, None, None] / (5 * 4)
    found = ModelDoctor(model, "0", noise_samples=0).attribute(x, y)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    at_relu = ModelDoctor(model, "1", noise_samples=0).attribute(x, y)
    everywhere = model[4].weight[y].detach().abs()[:, :, None, None].expand_as(expected) / (5 * 4)
    torch.testing.assert_close(at_relu, everywhere, rtol=1e-12, atol=0)


def test_weight_over_places_times_how_often_active():
    model, x = analytic()
    y = torch.tensor([0, 2, 1, 1])
    drawn = disturbances(20, (5, 5, 4), 1.0, "uniform", 8).double()
    with torch.no_grad():
        active = (model[0](x) + drawn[:, None] > 0).double().mean(0)
    expected = active * model[4].weight[y].detach().abs()[:, :, None, None] / (5 * 4)
    found = ModelDoctor(model, "0", 20, 1.0, seed=8).attribute(x, y)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_many_copies_come_to_the_expectation(noise):
    model = seeded(nn.Sequential(*parts.conv(2, 3), *parts.conv(3, 4), *parts.gap(4)).double(), seed=2)
    x, y, size, count = image(2, 2, 7, 7), torch.tensor([1, 3]), 1.0, 2000
    found = ModelDoctor(model, "0", count, size, noise=noise, seed=1).attribute(x, y)
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        m = model[0](x)

    def score(value, label):
        return model[2:](value[None].relu())[0].gather(0, label[None])[0]

    shape = (10 * count, *m.shape[1:])
    if noise == "uniform":
        e = (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1) * size
    else:
        e = torch.randn(shape, generator=generator, dtype=torch.float64) * size
    for n in range(2):
        each = vmap(grad(score), (0, None))(m[n] + e, y[n]).abs().detach()
        error = each.std(0) * math.sqrt(1 / count + 1 / len(e))
        deviation = ((found[n] - each.mean(0)).abs() / error.clamp(min=1e-12)).flatten()
        assert float(deviation.max()) < 4.5, "75 values, so 4.5 standard errors are once in 2000"
        assert 0.5 < float(deviation.square().mean()) < 2


def test_disturbances_are_uniform():
    drawn = disturbances(400, (3, 5, 7), 0.3, "uniform", 0)
    assert drawn.shape == (400, 3, 5, 7)
    assert drawn.abs().max() <= 0.3
    assert drawn.abs().max() > 0.2999
    shares = torch.histc(drawn.double(), 10, -0.3, 0.3) / drawn.numel()
    assert ((shares - 0.1).abs() < 4 * math.sqrt(0.09 / drawn.numel())).all()


def test_disturbances_are_normal():
    drawn = disturbances(400, (3, 5, 7), 0.3, "normal", 0).double() / 0.3
    cuts = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    for cut in cuts:
        share, expected = float((drawn < cut).double().mean()), float(torch.special.ndtr(cut))
        assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / drawn.numel())
    assert drawn.abs().max() > 3.5


@pytest.mark.parametrize(("kind", "deviation"), [("uniform", 1 / math.sqrt(3)), ("normal", 1)])
def test_disturbances_are_independent(kind, deviation):
    drawn = disturbances(300, (4, 6, 6), 1.0, kind, 3).double()
    count = drawn.numel()
    assert abs(float(drawn.mean())) < 4 * deviation / math.sqrt(count)
    fourth = {"uniform": 9 / 5, "normal": 3}[kind]
    assert abs(float(drawn.var()) / deviation**2 - 1) < 4 * math.sqrt((fourth - 1) / count)
    for dimension in range(4):
        neighbours = float((drawn * drawn.roll(1, dimension)).mean()) / deviation**2
        assert abs(neighbours) < 4 / math.sqrt(count), f"dimension {dimension}"


def test_disturbances_are_drawn_once_from_the_seed():
    before = torch.get_rng_state()
    first = disturbances(5, (2, 3, 3), 0.1, "uniform", 4)
    assert torch.equal(first, disturbances(5, (2, 3, 3), 0.1, "uniform", 4))
    assert not torch.equal(first, disturbances(5, (2, 3, 3), 0.1, "uniform", 5))
    torch.testing.assert_close(disturbances(5, (2, 3, 3), 0.7, "uniform", 4), 7 * first)
    assert torch.equal(torch.get_rng_state(), before), "the global random state is nobody's to use"


def test_the_global_random_state_neither_matters_nor_changes():
    one = CASES["straight"]()
    torch.manual_seed(0)
    first = one.found("0", {})
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert torch.equal(one.found("0", {}), first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["batch norm", "class scores, pool", "small resnet"])
@pytest.mark.parametrize("layer", [0, -1])
def test_training_mode_is_as_evaluation_mode(name, layer):
    one = CASES[name]()
    layer = one.layers[layer]
    expected = one.found(layer, {})
    state = {key: value.clone() for key, value in one.model.state_dict().items()}
    one.model.train()
    one.model.requires_grad_(False)
    found = one.found(layer, {})
    assert torch.equal(found, expected)
    assert all(module.training for module in one.model.modules())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in one.model.parameters())
    assert all(torch.equal(value, state[key]) for key, value in one.model.state_dict().items())


def test_under_no_grad_and_with_inputs_that_need_one():
    one = CASES["blocks in place"]()
    expected = one.found("2", {})
    with torch.no_grad():
        assert torch.equal(one.found("2", {}), expected)
    wanting = replace(one, inputs=one.inputs.clone().requires_grad_())
    found = wanting.found("2", {})
    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert wanting.inputs.grad is None


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("straight", "2 0"),
        ("straight", "0 1 2 3"),
        ("written over", "first second third"),
        ("branches", "3.branch.1.3 3 3.branch.0"),
        ("shortcut written over", "stem layer after"),
        ("class scores, relu, pool", "scores features features.2"),
        ("two inputs, unclear options", "left"),
    ],
)
@whole_passes
def test_several_layers_at_once(name, layers):
    one, layers = CASES[name](), layers.split()
    found = one.found(layers, {"noise_samples": 4, "noise_range": 0.7})
    assert isinstance(found, list)
    assert len(found) == len(layers)
    for layer, maps in zip(layers, found, strict=True):
        alone = one.found(layer, {"noise_samples": 4, "noise_range": 0.7})
        pair = [value[0] if isinstance(value, tuple) else value for value in (maps, alone)]
        assert_exact(f"{layers}", *(flat(layer, value) for value in pair))


def test_a_layer_is_a_name_or_a_module():
    one = CASES["blocks"]()
    expected = one.found("2.body.0", {})
    assert torch.equal(one.found(one.model[2].body[0], {}), expected)
    (first, second) = one.found([one.model[2].body[0], "3"], {})
    assert torch.equal(first, expected)
    assert torch.equal(second, one.found(one.model[3], {}))


def test_a_tuple_gives_a_tuple():
    one = CASES["straight"]()
    alone = replace(one, inputs=(one.inputs,)).found("0", {})
    assert isinstance(alone, tuple)
    assert torch.equal(alone[0], one.found("0", {}))


@pytest.mark.parametrize("layer", ["stem", "layer"])
def test_models_whose_way_depends_on_values_run_whole(layer):
    one = case(nets.Unclear(), image(4, 2, 7, 7), layer)
    for options in ({}, {"score": "probability", "reduce": "relu"}, {"internal_batch_size": 3}):
        with pytest.warns(WholePassesWarning):
            one.check(layer, **options)
    warnings.simplefilter("ignore")
    with pytest.raises(LayerError, match="no module of Unclear was found to return feature maps"):
        ModelDoctor(one.model).attribute(one.inputs, one.target)
    with pytest.raises(LayerError, match="others may read"):
        ModelDoctor(one.model, layer).attribute(one.inputs, one.target, attribute_to_layer_input=True)


@pytest.mark.parametrize(
    ("name", "layer", "before"),
    [
        ("straight", "1", "0"),
        ("straight", "2", "1"),
        ("skip", "2.body", "1"),
        ("blocks", "3.body", "2"),
        ("blocks in place", "3.body", "2"),
        ("blocks in place", "2.body.1", "2.body.0"),
        ("branches", "3.branch.3.0", "2"),
        ("small squeezenet", "classifier", "features"),
        ("small squeezenet", "features.2", "features.1"),
        ("class scores, pool", "scores", "features"),
    ],
)
@pytest.mark.parametrize("way", [{}, {"reduce": "relu", "multiply_by_inputs": True}], ids=str)
def test_the_input_of_a_layer_is_what_the_one_before_returns_to_whoever_reads_it(name, layer, before, way):
    one = CASES[name]()
    found, expected = one.found(layer, way, attribute_to_layer_input=True), one.found(before, way)
    assert_exact(f"input of {layer}", flat(layer, found), flat(layer, expected))
    signed = LayerGradientXActivation(one.model, one.model.get_submodule(layer), multiply_by_inputs=False).attribute(
        one.inputs, one.target, attribute_to_layer_input=True
    )
    still = one.found(layer, {"noise_samples": 0}, attribute_to_layer_input=True)
    signed = signed[0] if isinstance(signed, tuple) else signed
    assert_exact("as Captum", flat(layer, still), flat(layer, signed.abs()))


@pytest.mark.parametrize("way", [{}, {"reduce": "relu", "multiply_by_inputs": True}], ids=str)
def test_the_input_of_a_layer_that_is_written_over(way):
    one = CASES["written over"]()
    one.check("third", layer_input=True, **way)


ROWS_OF_OTHERS = {
    "video": (lambda: networks.Video(time_major=False), (2, 3, 2, 5, 5), "frame"),
    "video, time first": (lambda: networks.Video(time_major=True), (3, 3, 2, 5, 5), "frame"),
    "twice": (networks.BatchTwice, (3, 2, 5, 5), "both"),
    "one by one": (networks.OneByOne, (3, 2, 5, 5), "single"),
    "one query for all": (networks.SharedQuery, (3, 2, 6, 6), "query"),
}


@pytest.mark.parametrize("name", ROWS_OF_OTHERS)
@pytest.mark.parametrize("noise_samples", [0, 3])
@whole_passes
def test_maps_whose_rows_are_not_the_images_are_exact_or_refused(name, noise_samples):
    build, shape, layer = ROWS_OF_OTHERS[name]
    model = seeded(build().double(), image(*shape))
    one = Case(model, image(*shape), (layer,), torch.arange(shape[0]) % 3)
    try:
        one.found(layer, {"noise_samples": noise_samples})
    except ParamsalError:
        return
    one.check(layer, noise_samples=noise_samples)


@pytest.mark.parametrize("noise_samples", [0, 3])
def test_maps_in_another_order_stay_in_their_order(noise_samples):
    one = case(networks.BatchInAnyOrder(), image(3, 2, 5, 5), "inside")
    maps = one.found("inside", {"noise_samples": noise_samples})
    expected = one.expected("inside", drawn_for(one.size("inside"), noise_samples))
    assert_exact("the last image first", flat("inside", maps.flip(0)), flat("inside", expected))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("good2", "got 'good2'; nearest: 'good'"),
        ("twice", "'twice' to be called once"),
        ("never", "'never' to be called .* it never is"),
        ("vector", r"'vector' to have maps .* got shape \(2, 3\)"),
        ("pair", "'pair' to return one tensor"),
        ("", "got ''"),
        (["good", "vector"], "'vector' to have maps"),
        ([], "at least one layer"),
        ("g*", r"got 'g\*'"),
        (nn.Conv2d(4, 4, 1), "got this Conv2d"),
    ],
)
@whole_passes
def test_layers_without_maps_are_refused(layer, words):
    model = seeded(nets.WithBadLayers().double())
    x = image(2, 2, 6, 6)
    assert ModelDoctor(model, "good").attribute(x, 0).shape == (2, 4, 4, 4)
    with pytest.raises(LayerError, match=words):
        ModelDoctor(model, layer).attribute(x, 0)


def test_the_nearest_name_is_offered():
    with pytest.raises(LayerError, match="good"):
        ModelDoctor(nets.WithBadLayers(), "goood")


def test_nothing_stays_behind_a_refusal():
    model = seeded(nets.WithBadLayers().double()).train()
    for layer in ("twice", "vector", "pair", "never"):
        with pytest.raises(LayerError, match=f"layer {layer!r}"):
            ModelDoctor(model, layer).attribute(image(2, 2, 6, 6), 0)
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    assert all(m.training for m in model.modules())


@st.composite
def geometries(draw):
    """A small network with a layer somewhere in it."""
    channels = draw(st.integers(1, 4))
    layers, inputs = [], 2
    for _ in range(draw(st.integers(1, 3))):
        kernel = draw(st.integers(1, 3))
        options = {
            "stride": draw(st.integers(1, 2)),
            "padding": draw(st.integers(0, kernel // 2)),
            "dilation": draw(st.integers(1, 2)),
            "bias": draw(st.booleans()),
            "padding_mode": draw(st.sampled_from(["zeros", "circular", "replicate"])),
        }
        layers.append(nn.Conv2d(inputs, 2 * channels, kernel, groups=draw(st.sampled_from([1, 2])), **options))
        layers.append(draw(st.sampled_from([nn.ReLU(True), nn.Tanh(), nn.BatchNorm2d(2 * channels), nn.SiLU(True)])))
        inputs = 2 * channels
        if draw(st.booleans()):
            side = nn.Sequential(nn.Conv2d(inputs, inputs, 1), nn.ReLU(True), nn.Conv2d(inputs, inputs, 3, padding=1))
            layers.append(draw(st.sampled_from([parts.Residual, parts.InPlaceResidual, Doubled]))(side))
            inputs *= 1 + isinstance(layers[-1], Doubled)
            channels = inputs // 2
    head = draw(st.sampled_from(["linear", "scores", "flat"]))
    return layers, head, inputs, draw(st.integers(7, 9)), draw(st.integers(7, 9))


class Doubled(parts.Branches):
    def __init__(self, side):
        super().__init__(side, nn.Identity())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    geometry=geometries(),
    which=st.integers(0, 100),
    count=st.integers(1, 4),
    samples=st.integers(0, 4),
    size=st.sampled_from([None, 1, 2, 3, 5, 8]),
    layer_input=st.booleans(),
    noise=st.sampled_from(["uniform", "normal"]),
    score=st.sampled_from(["logit", "probability"]),
)
def test_small_random_networks(*, geometry, which, count, samples, size, layer_input, noise, score):
    layers, head, channels, height, width = geometry
    x = image(count, 2, height, width, seed=which)
    body = nn.Sequential(*layers).double()
    try:
        with torch.no_grad():
            shape = body.eval()(x).shape[1:]
    except RuntimeError:
        assume(False)  # a picture too small for this geometry
    ending = {
        "linear": parts.gap(channels),
        "scores": (nn.Dropout(), nn.Conv2d(channels, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "flat": (nn.Flatten(), nn.Linear(shape.numel(), 4)),
    }[head]
    model = seeded(nn.Sequential(body, *ending).double(), torch.cat([x, x + 1]), seed=which)
    names = [name for name, _ in body.named_modules() if name and not name.endswith(("branch", "shortcut"))]
    layer = f"0.{names[which % len(names)]}"
    layer_input &= layer.count(".") == 1  # elsewhere others read it too
    one = Case(model, x, (layer,), torch.arange(count) % 4)
    one.check(layer, noise_samples=samples, noise=noise, layer_input=layer_input, score=score, internal_batch_size=size)


@pytest.mark.parametrize("name", ["straight", "blocks in place", "small squeezenet"])
def test_single_precision(name):
    one = CASES[name]()
    low = replace(one, model=deepcopy(one.model).float(), inputs=one.inputs.float())
    same = replace(one, model=deepcopy(low.model).double(), inputs=low.inputs.double())
    for layer in one.layers:
        found = low.found(layer, {"noise_samples": 3})
        assert found.dtype == torch.float32
        expected = same.expected(layer, drawn_for(one.size(layer), 3))
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.max()))
