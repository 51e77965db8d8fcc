"""Calls that look and behave like Captum's own."""

import copy
import inspect
import pickle

import pytest
import torch
from captum.attr import Attribution, NoiseTunnel
from contract.closeness import assert_same, joined
from contract.registry import built, built_for
from contract.samples import Sample
from torch import nn


def test_is_an_attribution(entry):
    assert issubclass(entry.cls, Attribution)
    assert entry.cls.__doc__


def test_signature(entry):
    parameters = inspect.signature(entry.cls.attribute).parameters
    assert list(parameters)[:4] == ["self", "inputs", "target", "additional_forward_args"]
    assert parameters["target"].default is None
    assert parameters["additional_forward_args"].default is None
    for name, default in (("internal_batch_size", None), ("show_progress", False)):
        assert parameters[name].default is default, name


def test_usage_is_logged(entry):
    # NoiseTunnel and some 35 other places of Captum call `attribute.__wrapped__`.
    assert callable(getattr(entry.cls.attribute, "__wrapped__", None)), "attribute lacks @log_usage()"


def test_shape_of_a_tensor_input(entry):
    sample, attribution = built(entry.name, "small")
    result = attribution.attribute(**sample.arguments())
    assert isinstance(result, torch.Tensor)
    if entry.kind == "filters":
        assert result.shape == (6, len(attribution.filters))
    elif entry.kind == "inputs":
        assert result.shape == sample.inputs.shape
    else:
        assert result.shape[0] == 6
        assert result.ndim == 4
    assert result.isfinite().all()
    assert result.abs().sum() > 0
    assert result.is_contiguous(), "Captum's metrics call view()"
    assert not result.requires_grad


def test_tuple_in_tuple_out(entry):
    sample, attribution = built(entry.name, "small")
    alone = attribution.attribute(sample.inputs, target=sample.target)
    in_tuple = attribution.attribute((sample.inputs,), target=sample.target)
    assert isinstance(in_tuple, tuple)
    assert len(in_tuple) == 1
    assert torch.equal(in_tuple[0], alone)


def test_several_inputs(entry):
    if "two inputs" in entry.excluded:
        pytest.skip(f"{entry}: {entry.excluded['two inputs']}")
    sample, attribution = built(entry.name, "two inputs")
    result = attribution.attribute(**sample.arguments())
    assert isinstance(result, tuple)
    if entry.kind == "inputs":
        assert [r.shape for r in result] == [x.shape for x in sample.inputs]
    else:
        assert len(result) == 1
        assert len(result[0]) == 6


def test_one_additional_argument_needs_no_tuple(entry):
    if "two inputs" in entry.excluded:
        pytest.skip(f"{entry}: {entry.excluded['two inputs']}")
    sample, attribution = built(entry.name, "two inputs")
    factor = sample.extra[0]
    bare = attribution.attribute(sample.inputs, target=sample.target, additional_forward_args=factor)
    in_tuple = attribution.attribute(sample.inputs, target=sample.target, additional_forward_args=(factor,))
    assert torch.equal(joined(bare), joined(in_tuple))


def test_additional_arguments_reach_the_model(entry, attribute):
    if "two inputs" in entry.excluded:
        pytest.skip(f"{entry}: {entry.excluded['two inputs']}")
    sample, _ = built(entry.name, "two inputs")
    factor, power, switch, nothing = sample.extra
    as_given = attribute(sample)
    changes = ((factor * 2, power, switch, nothing), (factor, 1, switch, nothing), (factor, power, True, nothing))
    # What lies behind the sample's layer is multiplied by the factor; the others act on what is added to it.
    for changed in changes[:1] if entry.kind == "layer" else changes:
        assert not torch.allclose(attribute(sample, additional_forward_args=changed), as_given)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))], ids=["deepcopy", "pickle"])  # noqa: S301
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
def test_copies_give_the_same(entry, sample, copied, used):
    if used:
        sample, attribution = built(entry.name, "small")
        attribution.attribute(**sample.arguments())
    else:
        attribution = entry.build(sample)
    twin = copied(attribution)
    assert torch.equal(twin.attribute(**sample.arguments()), attribution.attribute(**sample.arguments()))


def test_a_copy_has_a_model_of_its_own(entry, sample):
    attribution = entry.build(sample)
    before = attribution.attribute(**sample.arguments())
    twin = copy.deepcopy(attribution)
    with torch.no_grad():
        for parameter in sample.model.parameters():
            parameter.zero_()
    assert torch.equal(twin.attribute(**sample.arguments()), before)


def test_deterministic(entry):
    sample, attribution = built(entry.name, "small")
    first = attribution.attribute(**sample.arguments())
    torch.rand(3)
    assert torch.equal(attribution.attribute(**sample.arguments()), first)
    assert torch.equal(entry.build(sample).attribute(**sample.arguments()), first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_result_has_the_dtype_of_the_model(entry, sample, dtype):
    sample.model.to(dtype)
    sample = Sample(sample.name, sample.model, sample.inputs.to(dtype), sample.target)
    result = entry.build(sample).attribute(**sample.arguments())
    assert result.dtype == dtype


def test_progress_is_shown_when_asked_for(entry, capsys):
    sample, attribution = built(entry.name, "small")
    attribution.attribute(**sample.arguments(), internal_batch_size=2)
    quiet = capsys.readouterr()
    assert (quiet.out, quiet.err) == ("", "")
    attribution.attribute(**sample.arguments(), internal_batch_size=2, show_progress=True)
    assert capsys.readouterr().err.strip(), "show_progress=True shows nothing"


class TestNoiseTunnel:
    """Captum's own wrapper: without noise it changes nothing; with noise it averages."""

    @pytest.mark.parametrize("batch_size", [None, 2, 3])
    def test_no_noise(self, entry, attribute, batch_size):
        sample, attribution = built(entry.name, "small", torch.float32)
        tunnel = NoiseTunnel(attribution)
        result = tunnel.attribute(
            sample.inputs, nt_samples=4, nt_samples_batch_size=batch_size, stdevs=0.0, target=sample.target
        )
        assert_same(joined(result), attribute(sample), "NoiseTunnel without noise")

    @pytest.mark.parametrize("kind", ["smoothgrad", "smoothgrad_sq", "vargrad"])
    def test_noise(self, entry, kind):
        sample, attribution = built(entry.name, "small", torch.float32)
        tunnel = NoiseTunnel(attribution)
        result = tunnel.attribute(sample.inputs, nt_type=kind, nt_samples=3, stdevs=0.1, target=sample.target)
        assert joined(result).isfinite().all()

    def test_tuples(self, entry):
        sample, attribution = built(entry.name, "small", torch.float32)
        result = NoiseTunnel(attribution).attribute((sample.inputs,), nt_samples=2, stdevs=0.0, target=1)
        assert isinstance(result, tuple)


class TestWrappedModels:
    """A wrapper around a model changes neither the names of its layers nor the result."""

    def check(self, entry, sample, attribute, wrapped):
        inside = Sample(sample.name, wrapped, sample.inputs, sample.target)
        assert torch.equal(attribute(inside), attribute(sample))
        if entry.kind == "filters":
            assert entry.build(inside).filters == built_for(sample).filters

    def test_data_parallel(self, entry, kept, attribute):
        self.check(entry, kept, attribute, nn.DataParallel(kept.model))

    def test_compiled(self, entry, kept, attribute):
        compilations = []

        def backend(graph, example_inputs):
            compilations.append(example_inputs)
            return graph.forward

        self.check(entry, kept, attribute, torch.compile(kept.model, backend=backend))
        assert not compilations, "scoring must not wait for a compiler"

    def test_compiled_in_data_parallel(self, entry, kept, attribute):
        self.check(entry, kept, attribute, nn.DataParallel(torch.compile(kept.model, backend="eager")))
