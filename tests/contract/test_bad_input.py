"""Inputs that cannot be scored: refused with what was expected and what came, and nothing changed."""

import pytest
import torch
from contract.registry import built
from contract.samples import SAMPLES
from contract.snapshot import nothing_left_behind

from captum_paramsal.errors import InputError, ParamsalError


def with_value(inputs, value):
    inputs = inputs.clone()
    inputs[4, 1, 2, 3] = value
    return inputs


BAD = {
    "no images": (lambda x: x[:0], ["0"]),
    "NaN": (lambda x: with_value(x, float("nan")), ["NaN", "4"]),
    "infinite": (lambda x: with_value(x, float("inf")), ["inf", "4"]),
    "minus infinite": (lambda x: with_value(x, -float("inf")), ["inf", "4"]),
    "too many channels": (lambda x: x.repeat(1, 2, 1, 1), ["(6, 6, 8, 8)"]),
    "one channel": (lambda x: x[:, :1], ["(6, 1, 8, 8)"]),
    "no batch": (lambda x: x[:, :, :, 0], ["(6, 3, 8)"]),
    "too small": (lambda x: x[:, :, :1, :1], ["(6, 3, 1, 1)"]),
    "too many dimensions": (lambda x: x[:, None], ["(6, 1, 3, 8, 8)"]),
    "a number": (lambda _: 3.0, ["float"]),
    "nothing": (lambda _: None, ["None"]),
    "a list": (lambda x: x.tolist(), ["list"]),
    "an empty tuple": (lambda _: (), []),
    "inputs of different lengths": (lambda x: (x, x[:3]), []),
}


@pytest.mark.parametrize(
    ("bad", "size"),
    [
        # Each in one pass or in parts; the other way is slow.
        pytest.param(bad, size, marks=[pytest.mark.slow] * (number % 2 != part))
        for number, bad in enumerate(BAD)
        for part, size in enumerate((None, 2))
    ],
)
def test_bad_inputs(entry, bad, size):
    change, words = BAD[bad]
    sample, attribution = built(entry.name, "small")
    inputs = change(sample.inputs)
    with nothing_left_behind(sample.model, inputs), pytest.raises(InputError) as caught:
        attribution.attribute(inputs, target=1, internal_batch_size=size)
    for word in words:
        assert word.lower() in str(caught.value).lower(), f"{word!r} is missing in: {caught.value}"


def test_whole_numbers_are_not_tested_for_nan(entry):
    if "tokens" in entry.excluded:
        pytest.skip(f"{entry}: {entry.excluded['tokens']}")
    sample = SAMPLES["tokens"]()
    scores = entry.build(sample).attribute(**sample.arguments())
    assert len(scores) == sample.count
    assert scores.isfinite().all()


@pytest.mark.parametrize("size", [0, -1, 1.5, "4"])
def test_bad_internal_batch_size(entry, size):
    sample, attribution = built(entry.name, "small")
    with nothing_left_behind(sample.model, sample.inputs), pytest.raises(ParamsalError, match=str(size)):
        attribution.attribute(**sample.arguments(), internal_batch_size=size)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_make_the_loss_not_finite(entry, sample, value):
    attribution = entry.build(sample)
    before = sample.model.fc.bias[0].item()
    with torch.no_grad():
        sample.model.fc.bias[0] = value
    try:
        with nothing_left_behind(sample.model, sample.inputs), pytest.raises(ParamsalError, match=r"(?i)nan|finite"):
            attribution.attribute(sample.inputs, target=1)
    finally:
        with torch.no_grad():
            sample.model.fc.bias[0] = before


def nan_for_the_third(logits, target):
    loss = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    return torch.where(target == 2, torch.full_like(loss, float("nan")), loss)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (nan_for_the_third, ["nan"]),
        (torch.nn.functional.cross_entropy, ["({count},)"]),
        (lambda z, _: z.exp(), ["({count}, 5)"]),
        (lambda *_: 1.0, ["1.0"]),
        (lambda z, _: z.detach().sum(1), []),
    ],
    ids=["NaN", "mean of the batch", "a value per class", "a number", "no gradient"],
)
def test_bad_losses(entry, sample, loss, words):
    if not entry.takes_loss:
        pytest.skip(f"{entry} has no loss")
    with nothing_left_behind(sample.model, sample.inputs), pytest.raises(InputError) as caught:
        entry.build(sample, loss=loss).attribute(sample.inputs, target=sample.target)
    counts = (6, 60)  # of the sample, or of a reference set
    for word in words:
        asked = [word.format(count=count) for count in counts]
        assert any(a in str(caught.value).lower() for a in asked), f"none of {asked} is in: {caught.value}"
