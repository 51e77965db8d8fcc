"""The same numbers on a GPU."""

from dataclasses import replace

import pytest
import torch
from cases.images import CASES
from cases.scores import scores_of_example
from oracles.deviation import assert_exact, assert_rounding

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
NAMES = [
    "in-place",
    "twice",
    "tied to an embedding",
    "functional weight",
    "shared query",
    "told the size",
    "normalisation",
]


def on_the_gpu(case):
    return replace(case, model=case.model.cuda(), inputs=case.inputs.cuda(), target=case.target.cuda())


@pytest.mark.parametrize("name", NAMES)
def test_float64_equals_the_loop_on_the_cpu(name):
    case = CASES[name]()
    oracle = case.oracle()
    scores = scores_of_example(on_the_gpu(case))
    assert all(s.is_cuda for s in scores.values())
    assert_exact(name, {layer: s.cpu() for layer, s in scores.items()}, oracle)


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_within_five_times_the_loops_own_rounding(name):
    case = CASES[name]().to(torch.float32)
    exact = case.to(torch.float64).oracle()
    case = on_the_gpu(case)
    scores = {layer: s.cpu() for layer, s in scores_of_example(case).items()}
    loops = [{layer: s.cpu() for layer, s in loop.items()} for loop in case.rounding()]
    assert_rounding(name, scores, loops, exact)
