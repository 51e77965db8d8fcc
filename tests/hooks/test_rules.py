"""A rule of one's own for a layer type of one's own."""

import torch
from cases.images import image
from cases.networks import Around, Scale
from cases.scores import scores_of
from oracles.deviation import assert_exact
from oracles.parameter_saliency import profile_loop
from oracles.weights import seeded
from torch import nn

from captum_paramsal.hooks import sample_gradients_of


class RuledScale(Scale):
    """Registered below; a class of its own, for the registry outlives a test."""


class UnruledScale(Scale):
    """The same without a rule."""


CALLS = []


@sample_gradients_of(RuledScale)
def scale_sample_gradients(_layer, inputs, output_gradients):
    CALLS.append(len(inputs))
    return (inputs * output_gradients).sum((2, 3))


def test_own_rule_is_used_and_exact():
    model, x, y = seeded(Around(RuledScale(4), 4).double()), image(3, 4, 5, 5), torch.tensor([0, 1, 2])
    CALLS.clear()
    assert_exact("own rule", scores_of(model, x, y, RuledScale), profile_loop(model, x, y, ["layer"]))
    assert CALLS, "the registered rule was not asked"


def test_no_rule_takes_the_slow_road():
    model, x, y = seeded(Around(UnruledScale(4), 4).double()), image(3, 4, 5, 5), torch.tensor([0, 1, 2])
    assert_exact("no rule", scores_of(model, x, y, "layer"), profile_loop(model, x, y, ["layer"]))


def test_a_rule_adds_up_the_calls_of_a_layer():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = RuledScale(4)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.layer(self.layer(x).tanh()).mean((2, 3)))

    model, x, y = seeded(Twice().double()), image(3, 4, 5, 5), torch.tensor([0, 1, 2])
    assert_exact("called twice", scores_of(model, x, y, "layer"), profile_loop(model, x, y, ["layer"]))


def test_rules_and_the_slow_road_in_one_model():
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3), UnruledScale(4), nn.Tanh(), RuledScale(4),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    model, x, y = seeded(model.double()), image(3, 4, 5, 5), torch.tensor([0, 1, 2])
    layers = ["0", "1", "3", "6"]
    assert_exact("mixed", scores_of(model, x, y, layers), profile_loop(model, x, y, layers))
