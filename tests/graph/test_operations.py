"""The table of operations: whatever an operation is written like, every reading of the graph knows it."""

from dataclasses import replace
from operator import attrgetter

import pytest
import torch
from oracles.weights import seeded
from torch import nn
from torch.nn import functional

from captum_paramsal import DiscernibleNeurons
from captum_paramsal.graph import (
    Network,
    Passing,
    TailNetwork,
    class_score_layers,
    last_feature_maps,
    registered_operations,
    registry,
    trace_rule,
)
from captum_paramsal.graph.operations import OPERATIONS, Kind

ACTIVATIONS = OPERATIONS[Kind.ACTIVATION]
ARGUMENTS = {
    "threshold": (0.0, 0.0),
    "clamp": (0.0,),
    "clamp_min": (0.0,),
    "clamp_max": (1.0,),
    "clip": (0.0,),
    "prelu": (torch.tensor([0.25]),),
}


def spelling_name(spelling):
    return spelling if isinstance(spelling, str) else f"{spelling.__module__}.{spelling.__name__}"


def arguments_of(spelling):
    return ARGUMENTS.get((spelling if isinstance(spelling, str) else spelling.__name__).strip("_"), ())


class Called(nn.Module):
    """A function, or a method by its name, as a module that ``torch.fx`` looks into."""

    def __init__(self, spelling):
        super().__init__()
        self.spelling = spelling

    def forward(self, x):
        call = self.spelling if callable(self.spelling) else attrgetter(self.spelling)(x)
        return call(x, *arguments_of(self.spelling)) if callable(self.spelling) else call(*arguments_of(self.spelling))


def written(spelling):
    if isinstance(spelling, type):
        return spelling(0.0, 0.0) if spelling is nn.Threshold else spelling()
    return Called(spelling)


every_spelling = pytest.mark.parametrize("spelling", ACTIVATIONS.every, ids=spelling_name)


def fully_convolutional(activation, classes=5):
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, classes, 1), activation)
    return seeded(nn.Sequential(model, nn.AdaptiveAvgPool2d(1), nn.Flatten())).eval()


@every_spelling
def test_class_scores_are_found_before_every_activation(spelling):
    assert class_score_layers(fully_convolutional(written(spelling))) == {"0.2"}


@every_spelling
def test_last_feature_maps_are_found_before_every_activation(spelling):
    body = nn.Sequential(nn.Conv2d(3, 6, 3), written(spelling))
    model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()
    # The module around a function is no module of the graph's, but returns its value.
    images = torch.rand(2, 3, 6, 6)
    assert last_feature_maps(Network.of(model, images)) == "1"
    behind_scores = Network.of(fully_convolutional(written(spelling)), images)
    assert last_feature_maps(behind_scores) == "0.1"


@every_spelling
def test_every_activation_can_be_traced(spelling):
    model = fully_convolutional(written(spelling))
    images = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    trace = DiscernibleNeurons(model).trace(images, target=[0, 3])
    assert list(trace.layers) == ["output", "0.2", "0.0", "input"]


@every_spelling
def test_one_channel_of_the_tail_gives_the_same_score(spelling):
    model = fully_convolutional(written(spelling))
    images = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    network, labels = Network.of(model, images), torch.tensor([4, 0, 2])
    start = network.calls["0.0"][0].returned
    tail = TailNetwork.of(network, start)
    maps = model[0][0](images)
    if spelling_name(spelling).lower().endswith("prelu"):
        # It may have a weight for each channel.
        assert tail.narrow is None
        return
    assert tail.narrow.meta["layer"] == "0.2"
    sides = {(node, value): network.constants[value.target] for node, value in tail.reads}
    with torch.no_grad():
        run = tail.run(maps.clone(), sides, labels)
        whole = replace(tail, narrow=None).run(maps.clone(), sides, labels)
    assert run.narrowed
    assert run.output.shape == (3, 1)
    torch.testing.assert_close(run.output[:, 0], whole.output[torch.arange(3), labels])


def test_a_spelling_has_one_kind():
    spellings = [spelling for row in OPERATIONS.values() for spelling in row.every]
    assert len(spellings) == len(set(spellings))


def test_rules_are_registered_for_operations_of_the_table():
    table = {spelling for row in OPERATIONS.values() for spelling in row.every}
    own = {
        operation
        for operation, rule in registered_operations().items()
        if type(rule).__module__.startswith("captum_paramsal.")
    }
    assert own <= table


@pytest.mark.parametrize("module", [nn.MultiheadAttention, nn.GLU, nn.Softmin])
def test_modules_that_mix_channels_or_turn_them_around_are_in_no_row(module):
    assert not any(issubclass(module, each) for row in OPERATIONS.values() for each in row.modules)


@pytest.mark.parametrize(
    ("written_last", "found"),
    [
        (lambda x: x.mean((2, 3)), {"0"}),
        (lambda x: x.amax(dim=(-1, -2)), {"0"}),
        (lambda x: torch.logsumexp(x, (2, 3)), {"0"}),
        (lambda x: functional.max_pool3d(x[:, :, None], (1, 4, 4)).flatten(1), {"0"}),
        (lambda x: x[:, None].mean(2).flatten(1), set()),
        (lambda x: x.permute(0, 2, 3, 1).mean((2, 3)), set()),
        (lambda x: (x - 1).mean((2, 3)), {"0"}),
        (lambda x: x.mean((2, 3)).softmax(1), {"0"}),
        (lambda x: x.mean((1, 2)), set()),
        (lambda x: x.flatten(2).transpose(1, 2).mean(2), set()),
        (lambda x: functional.glu(x, 1).mean((2, 3)), set()),
    ],
)
def test_what_comes_after_the_class_scores(written_last, found):
    assert class_score_layers(nn.Sequential(nn.Conv2d(3, 6, 3), Called(written_last)).eval()) == found


class Halved(nn.ReLU):
    """Followed into what it calls, until it has a rule of its own."""

    def forward(self, x):
        return super().forward(x) / 2


def test_a_rule_of_a_user_takes_the_place_of_the_tables(monkeypatch):
    monkeypatch.setattr(registry, "_rules", dict(registry._rules))
    model = fully_convolutional(Halved())
    images = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    before = DiscernibleNeurons(model).trace(images, target=1)

    @trace_rule(Halved)
    class Halving(Passing):
        def gain(self, step, sites):
            del step
            return sites.gain / 4

    after = DiscernibleNeurons(model).trace(images, target=1)
    assert after.layers["0.0"].channel.tolist() == before.layers["0.0"].channel.tolist()
    torch.testing.assert_close(after.layers["0.0"].current, before.layers["0.0"].current / 2)
    assert class_score_layers(model) == {"0.2"}
