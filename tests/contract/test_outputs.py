"""What a model returns: `logits` are taken as they are, `output=` makes scores of the rest, and every door agrees."""

from __future__ import annotations

import copy
import pickle
from collections import UserDict
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from contract.doors import DOORS, IMAGES, Changed, known
from contract.snapshot import nothing_left_behind
from torch import Tensor, nn

import captum_paramsal as cp
from captum_paramsal.hooks import scored_model, unwrap, whole_model


@dataclass
class Returned:
    logits: Tensor
    hidden_states: tuple[Tensor, ...] = ()


LOGITS = {
    "dict": lambda scores: {"logits": scores, "features": scores[:0]},
    "dataclass": Returned,
    "mapping": lambda scores: UserDict(logits=scores),
}


def second(returned):
    return returned[1]


def pair(scores):
    return scores[:, :1], scores


@pytest.mark.filterwarnings("ignore:.* mistakes have a right image of their class", "ignore:All of .* runs for each")
@pytest.mark.parametrize(
    ("door", "returned"),
    [
        # Each door with one kind of output, and each kind at every third door; the others are slow.
        pytest.param(door, returned, marks=[pytest.mark.slow] * (number % len(LOGITS) != kind))
        for number, door in enumerate(DOORS)
        for kind, returned in enumerate(LOGITS)
    ],
)
def test_logits_are_taken_as_they_are(door, returned):
    model, healthy = Changed(LOGITS[returned]), known()
    with nothing_left_behind(model, IMAGES):
        DOORS[door].call(model, healthy)


@pytest.mark.filterwarnings("ignore:.* mistakes have a right image of their class", "ignore:All of .* runs for each")
@pytest.mark.parametrize("door", DOORS)
def test_output_makes_scores_of_the_rest(door):
    model, healthy = Changed(pair), known()
    with nothing_left_behind(model, IMAGES):
        given = DOORS[door].call(model, healthy, output=second)
    plain = DOORS[door].call(Changed(), healthy)
    if isinstance(plain, Tensor):
        torch.testing.assert_close(given, plain, rtol=0, atol=0)


@pytest.mark.parametrize("door", DOORS)
def test_an_output_that_cannot_be_called_is_refused(door):
    if door == "increase_in_confidence":
        pytest.skip("takes functions too, and asks for an output of the same kind")
    with pytest.raises(cp.ModelError, match=r"Expected `output` to be a callable .*'logits'"):
        DOORS[door].call(Changed(pair), known(), output="logits")


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.scale = 1.0
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        scores = self.conv(x).mean((2, 3)) * self.scale
        return scores, scores * 2


def test_a_view_is_the_model_in_all_but_what_it_returns():
    model = Twice()
    view = scored_model(model, second)
    assert isinstance(view, Twice)
    assert list(view.named_modules())[1:] == list(model.named_modules())[1:]
    model.scale = 3.0
    x = torch.rand(2, 3, 6, 6)
    torch.testing.assert_close(view(x), model(x)[1])
    assert int(model.calls) == 2
    view.eval()
    assert not model.training
    seen = []
    model.register_forward_hook(lambda *call: seen.append(type(call[2])))
    view(x)
    assert seen == [tuple]
    assert whole_model(view) is model
    assert whole_model(model) is model
    assert unwrap(view) is view


@pytest.mark.parametrize("again", [copy.deepcopy, lambda view: pickle.loads(pickle.dumps(view))])  # noqa: S301
def test_a_view_copies_with_its_model(again):
    model = Twice()
    view = scored_model(model, second)
    other = again(view)
    x = torch.rand(2, 3, 6, 6)
    torch.testing.assert_close(other(x), view(x))
    with torch.no_grad():
        other.conv.weight.zero_()
    assert bool(model.conv.weight.any())
    assert type(whole_model(other)) is Twice


def test_what_is_treated_returns_what_the_model_returns():
    treatment = DOORS["treat"].call(Changed(pair), known(), output=second)
    assert isinstance(treatment.model(IMAGES), tuple)
    assert type(treatment.model) is Changed


class Named(nn.Module):
    """Takes its images by name, and a gain beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Changed()

    def forward(self, *, pixel_values: Tensor, gain: Tensor | None = None) -> dict[str, Tensor]:
        return {"logits": self.net(pixel_values) * (1.0 if gain is None else gain[:, None])}


def test_inputs_by_name():
    labels = known().wrong
    plain = cp.ParameterSaliency(Changed()).attribute(IMAGES, labels)
    saliency = cp.ParameterSaliency(Named())
    torch.testing.assert_close(saliency.attribute({"pixel_values": IMAGES}, labels), plain)
    torch.testing.assert_close(saliency.attribute(UserDict(pixel_values=IMAGES), labels, None, 5), plain)
    gain = torch.linspace(0.5, 2.0, 12).double()
    by_name = saliency.attribute({"pixel_values": IMAGES}, labels, {"gain": gain}, 5)
    first = saliency.attribute({"pixel_values": IMAGES, "gain": gain}, labels)
    torch.testing.assert_close(by_name, first)
    assert not torch.allclose(by_name, plain)


def test_pixel_maps_by_name():
    labels = known().wrong
    plain = cp.InputSpaceSaliency(cp.ParameterSaliency(Changed()), top_k=2).attribute(IMAGES, labels)
    pixels = cp.InputSpaceSaliency(cp.ParameterSaliency(Named()), top_k=2)
    maps = pixels.attribute({"pixel_values": IMAGES}, labels)
    torch.testing.assert_close(maps, {"pixel_values": plain})


def test_a_reference_of_batches_by_name():
    labels = known().wrong
    plain = cp.Reference.fit(Changed(), [(IMAGES, labels)], show_progress=False)
    batches = [({"pixel_values": IMAGES[:5]}, labels[:5]), {"pixel_values": IMAGES[5:], "labels": labels[5:]}]
    named = cp.Reference.fit(Named(), batches, show_progress=False)
    torch.testing.assert_close(named.mean, plain.mean)
    assert named.count == 12


@pytest.mark.parametrize("inputs", [{}, {"pixel_values": [1.0]}, {"pixel_values": None}])
def test_dicts_without_tensors_are_refused(inputs):
    with pytest.raises(cp.InputError, match="tuple or dict of them"):
        cp.ParameterSaliency(Named()).attribute(inputs, 0)


@cache
def program():
    """Made once; not strictly, since a limit on compiled code counts every strict export."""
    return torch.export.export(nn.Conv2d(3, 4, 3), (IMAGES.float(),), strict=False)


REFUSED = {
    "a function": (lambda: torch.relu, "relu, a function without layers"),
    "TorchScript": (lambda: torch.jit.trace(nn.Conv2d(3, 4, 3), IMAGES.float()), "TorchScript, whose layers"),
    "an exported program": (
        program,
        "an exported program. Give what its `module",
    ),
    "a class": (lambda: Twice, "the class Twice. Give an object of it"),
    "None": (lambda: None, "NoneType"),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_module_is_refused(door, kind):
    if door == "increase_in_confidence":
        pytest.skip("takes functions too")
    make, said = REFUSED[kind]
    with pytest.raises(cp.ModelError, match=f"Expected `model` to be a torch.nn.Module, got {said}"):
        DOORS[door].call(make(), known())


@pytest.mark.parametrize("door", DOORS)
def test_lazy_layers_are_refused(door):
    if door == "increase_in_confidence":
        pytest.skip("runs the model once, as lazy layers want it")
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(5))
    with pytest.raises(cp.LayerError, match="is lazy and has none yet: run the model once first"):
        DOORS[door].call(model, known())
