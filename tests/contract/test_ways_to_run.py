"""Each way to run a model through each method: the maps of the plain model, and nothing left behind."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from cases.ways_to_run import ALIKE, REFUSED, WAYS, images, small
from contract.snapshot import nothing_left_behind
from torch import nn

import captum_paramsal as cp

LABELS = torch.tensor([0, 1, 2, 3])


def reference(model, layers, inputs):
    some = torch.randn(60, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    batches = [(inputs(some), torch.arange(60) % 5)]
    return cp.Reference.fit(model, batches, layers=layers, tail=0.5, show_progress=False)


def saliency(model, layers, inputs):
    return cp.ParameterSaliency(model, layers=layers).attribute(inputs(images()), LABELS)


def pot(model, layers, inputs):
    return cp.POTSaliency(model, reference(model, layers, inputs)).attribute(inputs(images()), LABELS)


def pixels(model, layers, inputs):
    method = cp.InputSpaceSaliency(cp.ParameterSaliency(model, layers=layers), top_k=3)
    return method.attribute(inputs(images()), LABELS)


def trace(model, _, inputs):
    return cp.DiscernibleNeurons(model).attribute(inputs(images()), LABELS)


def doctor(model, _, inputs):
    return cp.ModelDoctor(model, noise_samples=2).attribute(inputs(images()), LABELS)


MAPS = {"saliency": saliency, "POT": pot, "pixels": pixels, "trace": trace, "doctor": doctor}


@cache
def plain(method):
    """The plain model's map."""
    return MAPS[method](small(), None, lambda x: x).double()


def cases():
    """Each way through one method in turn, and whatever is refused or alike; the others where slow tests run."""
    methods = list(MAPS)
    for number, way in enumerate(WAYS):
        for method in methods:
            quick = method == methods[number % len(methods)] or (way, method) in REFUSED or (way, method) in ALIKE
            yield pytest.param(way, method, marks=[] if quick else pytest.mark.slow)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad", "ignore:All of Around runs for each")
@pytest.mark.parametrize(("name", "method"), list(cases()))
def test_a_model_however_it_is_run(name, method):
    way = WAYS[name]
    with way.around():
        model = way.make(small())
        refused = REFUSED.get((name, method))
        with nothing_left_behind(model, way.inputs(images())):
            if refused:
                with pytest.raises(cp.ParamsalError, match=refused):
                    MAPS[method](model, way.layers, way.inputs)
                return
            maps = MAPS[method](model, way.layers, way.inputs).double()
    if way.same is None and way.plain_layers is None:
        expected = plain(method)
    else:
        twin = small() if way.same is None else way.same(model)
        expected = MAPS[method](twin, way.plain_layers, lambda x: x).double()
    if (name, method) in ALIKE:
        both = torch.stack([maps.flatten(), expected.flatten()])
        assert both.isfinite().all()
        assert float(both.corrcoef()[0, 1]) > 0.5
    else:
        torch.testing.assert_close(maps, expected, rtol=0, atol=way.tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("name", WAYS)
def test_layers_have_the_names_of_the_users_model(name):
    way = WAYS[name]
    with way.around():
        layers = cp.ParameterSaliency(way.make(small()), layers=way.layers).filters.layers
    assert all(layer.startswith(way.names) for layer in layers)
    assert layers[0].removeprefix(way.names) == "stem"


class Softmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = small()

    def forward(self, x):
        return self.net(x).softmax(1)


DOUBLE = "The class scores are probabilities: the model ends in a softmax"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_double_softmax_is_said_once_a_call(dtype):
    model = Softmax().to(dtype)
    with pytest.warns(cp.DoubleSoftmaxWarning, match=DOUBLE) as said:
        cp.ParameterSaliency(model).attribute(images().to(dtype), LABELS, None, 1)
    assert len(said) == 1


def test_log_probabilities_are_as_good_as_logits():
    maps = cp.ParameterSaliency(Softmax(), output=torch.log).attribute(images(), LABELS)
    torch.testing.assert_close(maps, cp.ParameterSaliency(small()).attribute(images(), LABELS))


def test_a_loss_of_probabilities_is_not_warned_of():
    def own(probabilities, labels):
        return -probabilities.gather(1, labels[:, None])[:, 0].log()

    maps = cp.ParameterSaliency(Softmax(), loss=own).attribute(images(), LABELS)
    torch.testing.assert_close(maps, cp.ParameterSaliency(small()).attribute(images(), LABELS))
