"""Pixels that drive the guilty filters: against one image and one double backward pass at a time."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from captum.attr import GradientAttribution, NoiseTunnel
from captum.metrics import infidelity, sensitivity_max
from cases import networks as nets
from cases.images import image
from cases.tail_cases import TAIL_CASES
from oracles.input_space_saliency import input_space_loop, standardized, tail_scores
from oracles.weights import seeded
from torch import nn
from torch.nn.functional import cosine_similarity

from captum_paramsal import InputSpaceSaliency, ParameterSaliency, POTSaliency, Reference
from captum_paramsal.errors import ParamsalError

FRACTION = 0.4


def scoring_of(saliency):
    """What the oracle needs to know of a scoring method, and which filters live."""
    if isinstance(saliency, POTSaliency):
        tails = saliency.tails
        return tail_scores(tails.threshold, tails.rate, tails.pareto.shape, tails.scale), tails.rate > 0
    if saliency.reference is None:
        return lambda profile: profile, torch.ones(len(saliency.filters), dtype=torch.bool)
    return standardized(saliency.reference.mean, saliency.reference.std), saliency.reference.std > 0


METHODS = {
    "raw": lambda case, _: ParameterSaliency(case.model, layers=case.select),
    "standardized": lambda case, reference: ParameterSaliency(case.model, reference, layers=case.select),
    "POT": lambda case, reference: POTSaliency(case.model, reference, layers=case.select),
    "exponential": lambda case, reference: POTSaliency(case.model, reference, layers=case.select, fit="exponential"),
}


def in_float32(case):
    (x, y), (images, labels) = case.reference, case.images
    return replace(case, model=deepcopy(case.model).float(), reference=(x.float(), y), images=(images.float(), labels))


@pytest.fixture(scope="module", params=TAIL_CASES)
def case(request):
    return TAIL_CASES[request.param]()


@pytest.fixture(scope="module")
def reference(case):
    return case.fit(tail=FRACTION)


@pytest.fixture(scope="module")
def single(case):
    """The same network in single precision, and a reference of it."""
    twin = in_float32(case)
    return twin, twin.fit(tail=FRACTION)


@pytest.fixture(
    scope="module", params=[pytest.param(m, marks=[pytest.mark.slow] * (m == "exponential")) for m in METHODS]
)
def saliency(request, case, reference):
    return METHODS[request.param](case, reference)


def loop(case, saliency, **arguments):
    scoring, living = scoring_of(saliency)
    return input_space_loop(case.model, *case.images, case.layers, scoring=scoring, living=living, **arguments)[0]


def relative_error(got, expected):
    """Per image, of the largest value of its map."""
    scale = expected.flatten(1).abs().amax(dim=1)
    assert (scale > 1e-9).all(), "the oracle's map is zero: no test"
    return float(((got.double() - expected.double()).flatten(1).abs().amax(dim=1) / scale).max())


def cosines(got, expected):
    return cosine_similarity(got.double().flatten(1), expected.double().flatten(1), dim=1)


@pytest.mark.parametrize(
    ("top_k", "boost"),
    [
        # What follows is with the usual boost, and compared with these maps or with the loop's.
        pytest.param(5, 100.0, marks=pytest.mark.slow),
        pytest.param(3, 100.0, marks=pytest.mark.slow),
        pytest.param(1, 7.5, marks=pytest.mark.slow),
        (2, 0.5),
    ],
)
def test_float64_equals_the_loop(case, saliency, top_k, boost):
    got = InputSpaceSaliency(saliency, top_k=top_k, boost=boost).attribute(case.images[0], target=case.images[1])
    assert got.shape == case.images[0].shape
    assert relative_error(got, loop(case, saliency, top_k=top_k, boost=boost)) <= 1e-9


def test_the_constants_of_the_paper_are_the_defaults():
    case = TAIL_CASES["residual"]()
    saliency = METHODS["standardized"](case, case.fit(tail=None))
    given = {"inputs": case.images[0], "target": case.images[1]}
    got = InputSpaceSaliency(saliency).attribute(**given)
    assert torch.equal(got, InputSpaceSaliency(saliency, top_k=10, boost=100.0).attribute(**given))
    assert relative_error(got, loop(case, saliency)) <= 1e-9


def test_float32_points_the_way_of_the_loop(case, saliency, single, request):
    rounded, usual = single
    twin = METHODS[request.node.callspec.params["saliency"]](rounded, usual)
    got = InputSpaceSaliency(twin, top_k=3).attribute(rounded.images[0], target=rounded.images[1])
    assert got.dtype == torch.float32
    assert float(cosines(got, loop(case, saliency, top_k=3)).min()) >= 0.9999


def test_one_by_one_and_in_parts_equal_the_batch(case, saliency):
    attribution = InputSpaceSaliency(saliency, top_k=3)
    x, y = case.images
    batch = attribution.attribute(x, target=y)
    alone = torch.cat([attribution.attribute(x[n : n + 1], target=int(y[n])) for n in range(len(x))])
    assert relative_error(alone, batch) <= 1e-9
    assert relative_error(attribution.attribute(x, target=y, internal_batch_size=3), batch) <= 1e-9


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(case, saliency, mode):
    expected = loop(case, saliency, top_k=3)
    frozen = deepcopy(saliency)
    frozen.model.requires_grad_(False)
    with mode():
        got = InputSpaceSaliency(frozen, top_k=3).attribute(case.images[0], target=case.images[1])
    assert relative_error(got, expected) <= 1e-9
    assert not got.requires_grad


def test_it_is_a_gradient(case, saliency):
    """Against central differences of the boosted cosine, its constants held."""
    x, y = case.images[0][:1], case.images[1][:1]
    got = InputSpaceSaliency(saliency, top_k=3).attribute(x, target=y)
    direction = got / got.norm()
    scores = saliency.attribute(x, target=y)[0]
    living = scoring_of(saliency)[1]
    goal = scores[living].clone()
    goal[goal.topk(3).indices] *= 100

    def similarity(step):
        moved = saliency.attribute(x + step * direction, target=y)[0, living]
        return float(cosine_similarity(moved, goal, dim=0, eps=1e-8))

    step = 1e-6
    slope = (similarity(step) - similarity(-step)) / (2 * step)
    assert slope == pytest.approx(float(got.norm()), rel=1e-3)


class TestDeadFilters:
    """Channel 2 of the first convolution, and a channel that is written over, never vary in the reference."""

    @pytest.fixture
    def case(self):
        return TAIL_CASES["in-place, dead filters"]()

    @pytest.mark.parametrize("method", ["standardized", "POT", "exponential"])
    def test_a_filter_that_wakes_up_takes_no_part(self, case, method):
        reference = case.fit(tail=FRACTION)
        awake = replace(case, model=deepcopy(case.model))
        with torch.no_grad():
            awake.model.first.bias[2] = 0.5
        saliency = METHODS[method](awake, reference.transfer(awake.model))
        expected = loop(awake, saliency, top_k=3)
        scoring, living = scoring_of(saliency)
        assert living.sum() == len(living) - 2
        got = InputSpaceSaliency(saliency, top_k=3).attribute(case.images[0], target=case.images[1])
        assert relative_error(got, expected) <= 1e-9
        everyone = input_space_loop(
            awake.model, *case.images, case.layers, scoring=scoring, living=torch.ones_like(living), top_k=3
        )[0]
        if method == "standardized":
            assert relative_error(got, everyone) > 1e-6, "the dead filter would not have mattered: no test"

    def test_more_boosted_filters_than_living_ones(self, case):
        saliency = METHODS["standardized"](case, case.fit(tail=None))
        living = int(scoring_of(saliency)[1].sum())
        x, y = case.images
        nearly = InputSpaceSaliency(saliency, top_k=living - 1).attribute(x, target=y)
        assert relative_error(nearly, loop(case, saliency, top_k=living - 1)) <= 1e-9
        assert float(InputSpaceSaliency(saliency, top_k=living).attribute(x, target=y).abs().max()) < 1e-12


def test_an_image_without_anything_unusual_gets_an_empty_map():
    case = TAIL_CASES["grouped"]()
    saliency = POTSaliency(case.model, case.fit(tail=FRACTION))
    x, y = case.reference
    unusual = (saliency.attribute(x, target=y) > 0).sum(dim=1)
    which = [int(unusual.argmin()), int(unusual.argmax())]
    assert unusual[which[0]] == 0, "every image has something unusual: no test"
    maps = InputSpaceSaliency(saliency, top_k=3).attribute(x[which], target=y[which])
    assert (maps[0] == 0).all()
    assert (maps[1] != 0).any()
    assert maps.isfinite().all()


def test_beyond_the_end_of_a_tail_the_map_is_finite_and_points_outwards():
    case = TAIL_CASES["in-place, dead filters"]()
    saliency = POTSaliency(case.model, case.fit(tail=FRACTION))
    x, y = 6 * case.images[0], case.images[1]
    scores = saliency.attribute(x, target=y)
    assert (scores >= 745).any(), "nothing lies beyond an end: no test"
    maps = InputSpaceSaliency(saliency, top_k=3).attribute(x, target=y)
    assert maps.isfinite().all()


def test_several_inputs():
    inputs = (image(40, 2, 5, 5, seed=41), image(40, 3, 6, seed=42))
    extra = (torch.linspace(0.5, 2, 40).double(), 2, True, None)
    model = seeded(nets.TwoImages().double(), *inputs, *extra)
    target = torch.arange(40) % 3
    reference = Reference.fit(model, [(inputs, target, extra)], show_progress=False)
    saliency = ParameterSaliency(model, reference)
    scoring, living = scoring_of(saliency)
    few = tuple(x[:3] + 0.1 for x in inputs)
    few_extra = (extra[0][:3], *extra[1:])
    expected = input_space_loop(
        model, few, target[:3], saliency.filters.layers, scoring=scoring, living=living, top_k=2,
        additional_forward_args=few_extra,
    )  # fmt: skip
    got = InputSpaceSaliency(saliency, top_k=2).attribute(few, target=target[:3], additional_forward_args=few_extra)
    assert isinstance(got, tuple)
    for ours, theirs in zip(got, expected, strict=True):
        assert relative_error(ours, theirs) <= 1e-9


class TestCaptum:
    """Captum's metrics and its tunnel, unchanged, around the attribution."""

    @pytest.fixture(params=["standardized", "POT"])
    def attribution(self, request):
        case = in_float32(TAIL_CASES["residual"]())
        return InputSpaceSaliency(METHODS[request.param](case, case.fit(tail=FRACTION)), top_k=3), case.images

    def test_it_is_a_gradient_attribution(self, attribution):
        assert isinstance(attribution[0], GradientAttribution)
        assert not attribution[0].multiplies_by_inputs

    def test_sensitivity(self, attribution):
        method, (x, y) = attribution
        noise = [0.01 * image(*x.shape, seed=seed).float() for seed in (1, 2, 3)]

        def perturb(inputs):  # Captum repeats each image three times
            given = inputs[0] if isinstance(inputs, tuple) else inputs
            moved = given + torch.stack(noise, dim=1).flatten(0, 1)[: len(given)]
            return (moved,) if isinstance(inputs, tuple) else moved

        with torch.no_grad():
            got = sensitivity_max(method.attribute, x, perturb_func=perturb, n_perturb_samples=3, target=y)
        plain = method.attribute(x, target=y).flatten(1)
        moved = torch.stack([method.attribute(x + n, target=y).flatten(1) for n in noise])
        expected = ((moved - plain).norm(dim=2) / plain.norm(dim=1)).amax(dim=0)
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)
        in_parts = sensitivity_max(
            method.attribute, x, perturb_func=perturb, n_perturb_samples=3, target=y, max_examples_per_batch=12
        )
        torch.testing.assert_close(in_parts, expected, rtol=1e-3, atol=1e-5)

    def test_infidelity(self, attribution):
        method, (x, y) = attribution

        def perturb(inputs):
            noise = 0.05 * torch.randn(inputs.shape, generator=torch.Generator().manual_seed(3))
            return noise, inputs - noise

        maps = method.attribute(x, target=y)
        for normalize in (False, True):
            value = infidelity(
                method.model if hasattr(method, "model") else method.forward_func,
                perturb, x, maps, target=y, n_perturb_samples=5, normalize=normalize,
            )  # fmt: skip
            assert value.shape == (len(x),)
            assert value.isfinite().all()

    def test_noise_tunnel(self, attribution):
        method, (x, y) = attribution
        quiet = NoiseTunnel(method).attribute(x, nt_samples=3, stdevs=0.0, target=y)
        assert float(cosines(quiet, method.attribute(x, target=y)).min()) >= 0.9999
        assert NoiseTunnel(method).attribute((x,), nt_samples=2, stdevs=0.1, target=y)[0].isfinite().all()


@pytest.mark.parametrize("top_k", [0, -1, 2.5, "3", 23])
def test_other_numbers_of_filters_are_refused(top_k):
    case = TAIL_CASES["residual"]()
    with pytest.raises(ParamsalError, match=str(top_k)):
        InputSpaceSaliency(ParameterSaliency(case.model), top_k=top_k)


@pytest.mark.parametrize("boost", [float("nan"), float("inf")])
def test_other_boosts_are_refused(boost):
    case = TAIL_CASES["residual"]()
    with pytest.raises(ParamsalError, match=str(boost)):
        InputSpaceSaliency(ParameterSaliency(case.model), boost=boost)


def test_whole_numbers_have_no_gradient():
    numbers = torch.randint(7, (4, 5), generator=torch.Generator().manual_seed(1))
    model = seeded(nets.TiedEmbedding().double(), numbers)
    saliency = ParameterSaliency(model, layers="convolution")
    with pytest.raises(ParamsalError, match="int64"):
        InputSpaceSaliency(saliency, top_k=3).attribute(numbers, target=1)


def test_of_few_filters_all_are_boosted_where_nobody_says_how_many():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).eval()
    images = torch.rand(4, 3, 8, 8)
    pixels = InputSpaceSaliency(ParameterSaliency(model))
    six = InputSpaceSaliency(ParameterSaliency(model), top_k=6)
    assert torch.equal(pixels.attribute(images), six.attribute(images))
    assert pixels.top_k == 6
    with pytest.raises(ParamsalError, match="from 1 to 6, the number of filters, got 7"):
        InputSpaceSaliency(ParameterSaliency(model), top_k=7).attribute(images)
