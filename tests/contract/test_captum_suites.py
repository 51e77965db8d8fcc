"""Captum's own table of generated tests, run against our classes.

``captum.testing.attr.helpers.test_config.config`` lists models with arguments for ``attribute``. Captum tests with it
that hooks are removed (after success, after a bad target, after a layer that raises) and that results for a list of
targets are those for the targets one by one. Of its rows,

* rows whose arguments ``attribute`` has apply directly (inputs, target, additional_forward_args, internal_batch_size);
* rows that wrap the method in ``NoiseTunnel`` apply through ``NoiseTunnel``;
* rows for layer methods (``layer``) apply to our classes of kind "layer" only;
* rows with vectors do not apply to methods that take images, or a layer with maps;
* rows for neurons, baselines, reference distributions, sliding windows or perturbations per evaluation
  (``neuron_selector``, ``baselines``, ``n_samples``, ...) belong to methods that have these ideas; ours have none.

Nearly all of these models have Linear layers only, so filters mean rows of Linear here.
"""

import copy
import inspect
from contextlib import contextmanager

import pytest
import torch
from captum.attr import NoiseTunnel
from contract.closeness import assert_same, joined
from contract.registry import ENTRIES
from contract.samples import Sample
from contract.snapshot import causes, nothing_left_behind
from torch import nn

config = pytest.importorskip(
    "captum.testing.attr.helpers.test_config", reason="comes with later versions of Captum"
).config
OWN_IDEAS = {"neuron_selector", "baselines", "n_samples", "perturbations_per_eval", "sliding_window_shapes"}
TUNNEL = {"nt_samples", "nt_samples_batch_size", "stdevs", "nt_type"}


def applies(entry, row):
    accepted = set(inspect.signature(entry.cls.attribute).parameters)
    asked = set(row["attribute_args"]) - (TUNNEL if row.get("noise_tunnel") else set())
    inputs = row["attribute_args"]["inputs"]
    if (entry.on_images or entry.kind == "layer") and not (isinstance(inputs, torch.Tensor) and inputs.ndim == 4):
        return False
    return asked <= accepted and bool("layer" in row) == (entry.kind == "layer")


CASES = [
    pytest.param(entry, row, id=f"{entry}-{row['name']}", marks=[pytest.mark.slow] * entry.slow)
    for entry in ENTRIES
    for row in config
    if applies(entry, row)
]


def targets_of(row):
    target = row["attribute_args"].get("target")
    return len(target) if isinstance(target, list) else target.numel() if isinstance(target, torch.Tensor) else 1


def one_of_each_kind(cases, *, by_target=False):
    """The same cases, of which those are slow whose model, and target if asked, are as in one before them."""
    kinds = set()
    for case in cases:
        entry, row = case.values
        arguments = row["attribute_args"]
        kind = entry.name, type(row["model"]), "noise_tunnel" in row, "additional_forward_args" in arguments
        if by_target:
            kind += type(arguments.get("target")), targets_of(row) > 1
        yield pytest.param(*case.values, id=case.id, marks=[pytest.mark.slow] * (entry.slow or kind in kinds))
        kinds.add(kind)


def build(entry, row, model):
    arguments = row["attribute_args"]
    extra = arguments.get("additional_forward_args")
    sample = Sample(row["name"], model, arguments["inputs"], every_target(row), extra, nn.Linear, row.get("layer", ""))
    attribution = entry.build(sample)
    return NoiseTunnel(attribution) if row.get("noise_tunnel") else attribution


def every_target(row):
    target = row["attribute_args"].get("target")
    return target.expand(4) if isinstance(target, torch.Tensor) and target.numel() == 1 else target


def test_every_row_is_accounted_for():
    for entry in ENTRIES:
        rows = {row["name"] for row in config if applies(entry, row)}
        if entry.kind == "layer" or entry.on_images:
            continue
        others = [row for row in config if row["name"] not in rows and "layer" not in row]
        strangers = [row["name"] for row in others if not OWN_IDEAS & set(row["attribute_args"])]
        assert not strangers, f"{entry}: neither run nor explained: {strangers}"
        assert len(rows) >= 14, rows


@pytest.mark.parametrize(("entry", "row"), CASES)
def test_hooks_are_removed(entry, row):
    model = copy.deepcopy(row["model"])
    attribution = build(entry, row, model)
    with nothing_left_behind_but_the_random_state(model, row):
        attribution.attribute(**row["attribute_args"])


@pytest.mark.parametrize(("entry", "row"), [*one_of_each_kind(CASES)])
def test_hooks_are_removed_after_a_bad_target(entry, row):
    model = copy.deepcopy(row["model"])
    attribution = build(entry, row, model)
    with nothing_left_behind_but_the_random_state(model, row), pytest.raises(AssertionError, match="9999"):
        attribution.attribute(**{**row["attribute_args"], "target": (9999,) * 20})


class ErrorModule(nn.Module):
    def forward(self, *_args):
        message = "on purpose"
        raise AssertionError(message)


@pytest.mark.parametrize(("entry", "row"), [*one_of_each_kind(CASES)])
def test_hooks_are_removed_after_a_layer_that_raises(entry, row):
    model = copy.deepcopy(row["model"])
    attribution = build(entry, row, model)
    inner = getattr(model, "model", model)
    if not hasattr(inner, "relu"):
        pytest.skip("the layer that Captum lets raise is not in this model")
    inner.relu = ErrorModule()
    with nothing_left_behind_but_the_random_state(model, row), pytest.raises((AssertionError, ValueError)) as caught:
        attribution.attribute(**row["attribute_args"])
    assert any("on purpose" in str(cause) for cause in causes(caught.value))


@contextmanager
def nothing_left_behind_but_the_random_state(model, row):
    arguments = row["attribute_args"]
    with nothing_left_behind(model, arguments["inputs"], arguments.get("additional_forward_args")):
        state = torch.random.get_rng_state()
        try:
            yield
        finally:
            if row.get("noise_tunnel"):  # NoiseTunnel itself draws, also noise of standard deviation 0
                torch.random.set_rng_state(state)


@pytest.mark.filterwarnings("ignore:Effects of .* are hardly known")
@pytest.mark.parametrize(("entry", "row"), [*one_of_each_kind(CASES, by_target=True)])
def test_many_targets_are_their_targets_one_by_one(entry, row):
    if targets_of(row) == 1:
        pytest.skip("one target")
    try:
        assert_targets_one_by_one(entry, row)
    except AssertionError:
        # Some of these models' scores of 459 and 457, or of 34 and 18, leave only rounding to gradients in float32.
        assert_targets_one_by_one(entry, in_float64(row))


def assert_targets_one_by_one(entry, row):
    arguments = dict(row["attribute_args"])
    target = arguments["target"]
    attribution = build(entry, row, copy.deepcopy(row["model"]))
    batch = joined(attribution.attribute(**arguments))
    for n in range(targets_of(row)):
        one = rows_of(arguments, n)
        one["target"] = target[n].item() if isinstance(target, torch.Tensor) else target[n]
        alone = joined(attribution.attribute(**one))
        assert_same(batch[n : n + 1], alone, f"{row['name']}, example {n}", rounding=1e-13)


def in_float64(row):
    """The same case with numbers twice as long."""

    def longer(value):
        if isinstance(value, tuple):
            return tuple(map(longer, value))
        return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    arguments = {key: longer(value) for key, value in row["attribute_args"].items()}
    return {**row, "model": copy.deepcopy(row["model"]).double(), "attribute_args": arguments}


def rows_of(arguments, n):
    """Example ``n`` alone."""

    def take(value):
        if isinstance(value, tuple):
            return tuple(take(v) for v in value)
        return value[n : n + 1] if isinstance(value, torch.Tensor) else value

    return {key: take(value) if key != "target" else value for key, value in arguments.items()}


@pytest.mark.parametrize(("entry", "row"), [*one_of_each_kind(CASES)])
def test_data_parallel_gives_the_same(entry, row):
    model = copy.deepcopy(row["model"])
    plain = joined(build(entry, row, model).attribute(**row["attribute_args"]))
    parallel = joined(build(entry, row, nn.DataParallel(model)).attribute(**row["attribute_args"]))
    assert_same(parallel, plain, row["name"])
