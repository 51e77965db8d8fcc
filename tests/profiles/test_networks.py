"""Small networks with one difficulty each: equal to the batch-of-one loop."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from cases import networks as nets
from cases.images import CASES, example, image
from cases.scores import scores_of, scores_of_example
from oracles.deviation import assert_exact, assert_rounding
from oracles.parameter_saliency import rows
from torch import nn

from captum_paramsal.attr import ParameterSaliency
from captum_paramsal.errors import ParamsalError

# Some of these networks cut layers off on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:No gradient of the loss")

HALF = torch.finfo(torch.bfloat16).eps


@cache
def exact(name):
    """What the loop says of a case."""
    return CASES[name]().oracle()


@cache
def exact_after_rounding(name, dtype):
    """The same of weights and images that have been of another precision."""
    return CASES[name]().to(dtype).to(torch.float64).oracle()


def in_turn(start):
    """The networks, every second of them slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] * ((place + start) % 2)) for place, name in enumerate(CASES)]


@pytest.mark.parametrize("name", CASES)
def test_float64_equals_the_loop(name):
    case = CASES[name]()
    assert_exact(name, scores_of_example(case), exact(name))


@pytest.mark.parametrize("name", in_turn(1))
@pytest.mark.parametrize("internal_batch_size", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_internal_batches_equal_the_loop(name, internal_batch_size):
    case = CASES[name]()
    assert_exact(name, scores_of_example(case, internal_batch_size=internal_batch_size), exact(name))


@pytest.mark.parametrize("name", in_turn(1))
def test_one_image_first_and_then_the_batch(name):
    case = CASES[name]()
    saliency = ParameterSaliency(case.model, layers=case.select)
    count = len(case.target)
    inputs = case.inputs if isinstance(case.inputs, tuple) else (case.inputs,)
    for images in (1, count):
        extra = tuple(value[:images] if rows(value, 0, count) is not value else value for value in case.extra)
        scores = saliency.attribute(
            tuple(x[:images] for x in inputs),
            target=case.target[:images],
            additional_forward_args=extra or None,
        )[0]
    assert_exact(name, saliency.filters.split(scores), exact(name))


def test_a_weight_that_is_computed_is_scored_as_it_is_used():
    """Weight normalisation splits a weight into length and direction; the filter is their product."""
    model = nets.Around(nn.Conv2d(2, 4, 3), 4)
    case = example(model, image(3, 2, 6, 6), "layer")
    plain = case.oracle()
    nn.utils.parametrizations.weight_norm(model.layer)
    for layers in (None, "layer"):
        assert_exact(f"weight norm, layers={layers!r}", scores_of(model, case.inputs, case.target, layers), plain)


@pytest.mark.parametrize("name", in_turn(0))
def test_float32_is_within_five_times_the_loops_own_rounding(name):
    case = CASES[name]().to(torch.float32)
    scores = scores_of_example(case)
    assert all(s.dtype == torch.float32 for s in scores.values())
    assert_rounding(name, scores, case.rounding(), exact_after_rounding(name, torch.float32))


@pytest.mark.parametrize(
    "name",
    ["in-place", "twice", "video", "functional weight", "called and borrowed", "cross attention", "told the size"],
)
def test_bfloat16_is_within_five_times_the_loops_own_rounding(name):
    case = CASES[name]().to(torch.bfloat16)
    scores = scores_of_example(case)
    assert all(s.dtype == torch.float32 for s in scores.values()), "half-precision models return float32"
    assert_rounding(name, scores, case.rounding(), exact_after_rounding(name, torch.bfloat16), epsilon=HALF)


@pytest.mark.parametrize("name", ["in-place", "twice", "video"])
def test_autocast_is_within_five_times_the_loops_own_rounding(name):
    case = CASES[name]().to(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores, loops = scores_of_example(case), case.rounding()
    assert_rounding(name, scores, loops, exact_after_rounding(name, torch.float32), epsilon=HALF)


HARD = [
    "in-place", "twice", "video", "functional weight", "called and borrowed", "cross attention", "encoder", "own layer",
]  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_frozen_model(name):
    case = CASES[name]()
    oracle = exact(name)
    case.model.requires_grad_(False)
    assert_exact(name, scores_of_example(case), oracle)
    assert not any(p.requires_grad for p in case.model.parameters())


@pytest.mark.parametrize("name", HARD)
def test_partly_frozen_model(name):
    case = CASES[name]()
    oracle = exact(name)
    for number, parameter in enumerate(case.model.parameters()):
        parameter.requires_grad_(number % 2 == 1)
    assert_exact(name, scores_of_example(case), oracle)


@pytest.mark.parametrize(
    ("mode", "frozen"),
    [
        (torch.no_grad, False),
        (torch.inference_mode, True),
        pytest.param(torch.no_grad, True, marks=pytest.mark.slow),
        pytest.param(torch.inference_mode, False, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", HARD)
def test_without_gradients(name, mode, frozen):
    case = CASES[name]()
    oracle = exact(name)
    case.model.requires_grad_(not frozen)
    with mode():
        assert_exact(name, scores_of_example(case), oracle)


@pytest.mark.parametrize("name", ["in-place", "cross attention"])
def test_inputs_made_in_inference_mode(name):
    case = CASES[name]()
    oracle = exact(name)
    with torch.inference_mode():
        inputs = case.inputs * 1
    for mode in (torch.inference_mode, torch.enable_grad):
        with mode():
            scores = scores_of_example(replace(case, inputs=inputs))
        assert_exact(f"{name}, scored under {mode.__name__}", scores, oracle)


@pytest.mark.parametrize("name", HARD)
def test_training_mode_scores_as_evaluation_mode(name):
    case = CASES[name]()
    oracle = exact(name)
    case.model.train()
    assert_exact(name, scores_of_example(case), oracle)


@pytest.mark.parametrize("name", ["in-place", "twice", "told the size"])
def test_channels_last(name):
    case = CASES[name]()
    oracle = exact(name)
    case.model.to(memory_format=torch.channels_last)
    inputs = case.inputs.contiguous(memory_format=torch.channels_last)
    scores = scores_of_example(replace(case, inputs=inputs))
    assert_exact(name, scores, oracle)


@pytest.mark.parametrize("name", ["in-place", "video"])
def test_inputs_that_are_views(name):
    case = CASES[name]()
    spread = torch.stack([case.inputs, torch.zeros_like(case.inputs)], dim=-1)[..., 0]
    assert not spread.is_contiguous()
    scores = scores_of_example(replace(case, inputs=spread))
    assert_exact(name, scores, exact(name))


def test_normalisation_over_the_batch_is_either_per_example_or_refused():
    """Without running statistics, batch normalisation mixes images in evaluation mode too: the only per-example
    answer is the one image by image, and another one must not come silently.
    """
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), norm, nn.Tanh(), nn.Flatten(), nn.Linear(64, 3))
    batch = example(model, image(3, 2, 6, 6), "0")
    try:
        scores = scores_of_example(batch)
    except ParamsalError:
        return
    assert_exact("batch statistics", scores, batch.oracle())
