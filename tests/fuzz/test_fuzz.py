"""Random models times public calls times faults from inside: afterwards everything is as it was."""

import random
import warnings
from collections.abc import Iterator

import pytest
import torch
from contract.snapshot import nothing_left_behind
from fuzz.random_models import CLASSES, random_model
from torch import nn
from torch.nn import functional

import captum_paramsal as cp
from captum_paramsal.repair import Constraints, fine_tune_step, knock_out, treat


class Planted(Exception):
    """What only these tests raise."""


FAULTS = (Planted, RuntimeError, KeyboardInterrupt, MemoryError)


def tuned(model, x, y):
    with fine_tune_step(model, [cp.Filter("0", 0)], x, y):
        pass


def knocked_out(model, *_):
    with knock_out(model, [cp.Filter("0", 1)]):
        raise Planted


CALLS = {
    "saliency": lambda model, x, y: cp.ParameterSaliency(model).attribute(x, target=y),
    "every layer": lambda model, x, y: every_layer(model).attribute(x, target=y, internal_batch_size=2),
    "reference": lambda model, x, y: cp.Reference.fit(
        model, batches(x, y), total=len(x), tail=0.5, show_progress=False
    ),
    "pixels": lambda model, x, y: cp.InputSpaceSaliency(cp.ParameterSaliency(model), top_k=2).attribute(x, target=y),
    "neurons": lambda model, x, y: cp.DiscernibleNeurons(model).attribute(x, target=y),
    "fixations": lambda model, x, y: cp.CNNFixations(model).trace(x, y),
    "doctor": lambda model, x, y: cp.ModelDoctor(model, "0", noise_samples=2).attribute(x, target=y),
    "diagnosis": lambda model, x, y: cp.ModelDoctor(model, "0", noise_samples=1).fit(
        batches(x, y), confidence=0.0, minimum=1, show_progress=False
    ),
    "knocked out": knocked_out,
    "tuned": tuned,
    "treated": lambda model, x, y: treat(
        model, [(x, y)], [(x, y)], Constraints("0", space=0.0, relevant=torch.eye(CLASSES, 4, dtype=torch.bool)),
        epochs=1, show_progress=False,
    ),
    "loss": lambda model, x, y: cp.ParameterSaliency(model, loss=failing_loss).attribute(x, target=y),
    "compared": lambda model, x, y: cp.compare(
        ["saliency", "random"], model, x, y, metrics=["sparsity"], show_progress=False
    ),
}  # fmt: skip


def every_layer(model):
    return cp.ParameterSaliency(model, layers="*")


def failing_loss(logits, labels):
    if float(logits.detach().sum()) > 0:
        raise Planted
    return functional.cross_entropy(logits, labels, reduction="none")


def batches(x, y) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    yield x[:2], y[:2]
    if float(x.sum()) > 0:
        raise Planted
    yield x[2:], y[2:]


def plant(model: nn.Module, draw: random.Random):
    """Let a module raise at one of its next calls."""
    fault = draw.choice((None, *FAULTS))
    left = [draw.randint(1, 6)]

    def on_forward(*_):
        left[0] -= 1
        if left[0] == 0 and fault is not None:
            raise fault

    draw.choice(list(model.modules())).register_forward_hook(on_forward)


def run(seed: int) -> str | None:
    """One call; what was wrong with it."""
    draw = random.Random(seed)  # noqa: S311 -- no secret
    model = random_model(seed)
    plant(model, draw)
    x = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    y = torch.arange(4) % CLASSES
    name = draw.choice(list(CALLS))
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings(), nothing_left_behind(model, x, y):
            warnings.simplefilter("ignore")
            try:
                CALLS[name](model, x, y)
            except (cp.ParamsalError, *FAULTS):
                pass
    except Exception as error:  # noqa: BLE001 -- whatever else is a finding
        return f"seed {seed}, {name}: {type(error).__name__}: {str(error)[:300]}"
    return None if threads == torch.get_num_threads() else f"seed {seed}, {name}: other threads"


def findings(seeds) -> list[str]:
    return [finding for seed in seeds if (finding := run(seed)) is not None]


def test_a_few_calls():
    assert not findings(range(24))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 10_000, 500))
def test_ten_thousand_calls(start):
    assert not findings(range(start, start + 500))
