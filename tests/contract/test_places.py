"""Models with class scores per place: at every door a target (class, row, column) is what the class at that place is.

The model's twin returns the scores at that one place, as a classifier does, and goes through the same door.
"""

from collections.abc import Mapping
from functools import cache

import pytest
import torch
from contract.doors import DOORS, IMAGES, Known
from contract.samples import noise
from oracles.weights import seeded
from torch import Tensor, nn

import captum_paramsal as cp
from captum_paramsal.errors import ParamsalError, TargetError
from captum_paramsal.repair import ControlImages, knock_out_curve, paste_pixels
from captum_paramsal.sources import LabelledTensors

ROW, COLUMN = 2, 3
SOURCES = "`labels` with one class number per image"
ONE_PLACE = r"class scores \(12, C\), one row per example, got \(12, 5, 8, 8\).* such as those at one place"
REFUSED = {"compare": ONE_PLACE, "treat": ONE_PLACE} | {
    name: SOURCES for name in DOORS if name.startswith("report.")
}  # fmt: skip
"""Doors that want one set of scores per image, and say so."""


class PerPlace(nn.Module):
    """A dense network that returns a dictionary, with layers of the names that the doors ask for."""

    def __init__(self):
        super().__init__()
        layers = {"conv": nn.Conv2d(3, 4, 3, padding=1), "bn": nn.BatchNorm2d(4), "relu": nn.ReLU()}
        layers |= {"conv2": nn.Conv2d(4, 6, 3, padding=1), "relu2": nn.ReLU(), "head": nn.Conv2d(6, 5, 1)}
        self.net = nn.Sequential()
        for name, layer in layers.items():
            self.net.add_module(name, layer)

    def forward(self, x):
        return {"aux": x.mean(), "out": self.net(x)}


def everywhere(returned):
    return returned["out"]


def at_one_place(returned):
    return returned["out"][:, :, ROW, COLUMN]


def with_place(classes):
    return [(number, ROW, COLUMN) for number in classes.tolist()]


class AtPlaces:
    """What is known, each label with its place."""

    def __init__(self, *known):
        self.known = Known(*known)

    def __getattr__(self, name):
        value = getattr(self.known, name)
        return with_place(value) if name in {"predicted", "wrong", "mixed"} else value

    @property
    def source(self):
        return LabelledTensors(IMAGES, self.mixed)

    many = source


@cache
def network():
    model = PerPlace().double()
    seeded(model.net, IMAGES)
    with torch.no_grad():
        predicted = at_one_place(model.eval()(IMAGES)).argmax(dim=1)
    many = [(noise(60, 3, 8, 8, seed=5), torch.arange(60) % 5)]
    reference = cp.Reference.fit(model, many, tail=0.5, output=at_one_place, show_progress=False)
    doctor = cp.ModelDoctor(model, "net.bn", noise_samples=2, output=at_one_place)
    diagnosis = doctor.fit([(IMAGES, predicted)], confidence=0.0, minimum=0, show_progress=False)
    return model, (reference, diagnosis, predicted)


def numbers_in(value, path="", depth=0):
    """Every number in a result, by where it is."""
    if isinstance(value, Tensor):
        yield path, value.double()
    elif isinstance(value, (int, float)):
        yield path, torch.tensor(float(value))
    elif depth > 8 or isinstance(value, nn.Module):
        return
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from numbers_in(part, f"{path}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for place, part in enumerate(value):
            yield from numbers_in(part, f"{path}[{place}]", depth + 1)
    elif hasattr(value, "__dict__"):
        yield from numbers_in(vars(value), path, depth)


@pytest.mark.parametrize("door", [name for name in DOORS if name not in REFUSED])
@pytest.mark.filterwarnings("ignore::captum_paramsal.FewSamplesWarning")
@pytest.mark.filterwarnings("ignore::captum_paramsal.errors.IncompleteTailWarning")
@pytest.mark.filterwarnings("ignore::captum_paramsal.errors.UnscoredWeightsWarning")
def test_the_class_at_a_place(door):
    model, known = network()
    expected = dict(numbers_in(DOORS[door].call(model, Known(*known), output=at_one_place)))
    found = dict(numbers_in(DOORS[door].call(model, AtPlaces(*known), output=everywhere)))
    if door.endswith(".trace"):
        # It begins at a place of the scores here, and at scores without places there.
        expected, found = (
            {path: value for path, value in both.items() if not path.startswith(".layers.output")}
            for both in (expected, found)
        )
        assert any(path.startswith(".layers.net.conv") for path in found)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        torch.testing.assert_close(found[path], value, rtol=1e-9, atol=1e-12, equal_nan=True, msg=f"{door}: {path}")


@pytest.mark.parametrize("door", REFUSED)
def test_doors_that_want_one_set_of_scores(door):
    model, known = network()
    with pytest.raises(ParamsalError, match=REFUSED[door]):
        DOORS[door].call(model, AtPlaces(*known), output=everywhere)


@pytest.mark.parametrize("size", [1, 4])
def test_each_image_has_a_place_of_its_own(size):
    model, known = network()
    scores = everywhere(model(IMAGES))
    places = [(n % 8, (3 * n) % 8) for n in range(12)]
    right = [int(scores[n, :, row, column].argmax()) for n, (row, column) in enumerate(places)]
    labels = [((right[n] + 1) % 5, *place) for n, place in enumerate(places)]
    reference, ranking = known[0], noise(12, len(known[0].filters), seed=3)
    controls = ControlImages(IMAGES, [(right[n], *place) for n, place in enumerate(places)], per_mistake=12)
    asked = {"k": 3, "output": everywhere, "show_progress": False}
    together = knock_out_curve(
        model, IMAGES, labels, ranking, reference.filters, controls=controls, internal_batch_size=size, **asked
    )
    for n in range(12):
        row, column = places[n]
        alone = knock_out_curve(
            model, IMAGES[n : n + 1], labels[n][:1], ranking[n : n + 1], reference.filters,
            **asked | {"output": lambda r, row=row, column=column: r["out"][:, :, row, column]},
        )  # fmt: skip
        for name in ("predicted", "corrected", "wrong", "true"):
            torch.testing.assert_close(getattr(together, name)[n : n + 1], getattr(alone, name), msg=f"{name} {n}")
    assert together.broken.isfinite().all()
    assert (together.broken[:, 0] == 0).all()


def test_pasted_regions_are_looked_at_where_their_mistake_is():
    model, _ = network()
    scores = everywhere(model(IMAGES))
    places = [(n % 8, (3 * n) % 8) for n in range(4)]
    labels = [((int(scores[n, :, r, c].argmax()) + 1) % 5, r, c) for n, (r, c) in enumerate(places)]
    options = {"boxes": torch.tensor([[1.0, 1, 6, 6]]), "draws": 1, "show_progress": False}
    asked = {**options, "boxes": options["boxes"].repeat(4, 1)}
    together = paste_pixels(model, IMAGES[:4], labels, IMAGES[4:], output=everywhere, **asked)
    for n, (row, column) in enumerate(places):

        def at(returned, row=row, column=column):
            return returned["out"][:, :, row, column]

        alone = paste_pixels(model, IMAGES[n : n + 1], labels[n][:1], IMAGES[4:], output=at, **options)
        for name in ("wrong_class", "open", "before", "after", "turned"):
            torch.testing.assert_close(getattr(together, name)[n : n + 1], getattr(alone, name), msg=name)


def test_a_tensor_of_places_is_refused_with_what_to_give():
    model, _ = network()
    places = torch.tensor(with_place(torch.arange(12) % 5))
    with pytest.raises(TargetError, match=r"Classes with places are a list of tuples: `\[\*map\(tuple, target.tolist"):
        cp.ParameterSaliency(model, output=everywhere).attribute(IMAGES, places)
    given = [*map(tuple, places.tolist())]
    assert cp.ParameterSaliency(model, output=everywhere).attribute(IMAGES, given).shape == (12, 10)
