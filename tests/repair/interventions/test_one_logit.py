"""A single logit is a yes or no for interventions as for scores; a loss of one's own takes its own targets."""

import pytest
import torch
from cases.images import image
from torch import nn
from torch.nn import functional

from captum_paramsal import ComponentAttribution, Filter
from captum_paramsal.repair import fine_tune_step

IMAGES, LABELS = image(8, 3, 8, 8), torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
FILTERS = [Filter("conv", index) for index in range(4)]


class Logits(nn.Module):
    """One logit z, or two, -z/2 and z/2."""

    def __init__(self, count):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.head, self.count = nn.Conv2d(3, 4, 3), nn.Linear(4, 1), count

    def forward(self, x):
        z = self.head(self.conv(x).relu().mean((2, 3)))
        return z if self.count == 1 else torch.cat([-z / 2, z / 2], dim=1)


def both():
    return [Logits(count).double().eval() for count in (1, 2)]


def stepped(model, target, loss=None):
    given = {} if loss is None else {"loss": loss}
    with fine_tune_step(model, FILTERS, IMAGES, target, 1.0, **given):
        return model.conv.weight.detach().clone()


@pytest.mark.parametrize("target", [0, 1, LABELS])
def test_a_step_is_that_of_two_classes(target):
    one, two = (stepped(model, target) for model in both())
    torch.testing.assert_close(one, two)
    assert not torch.equal(one, both()[0].conv.weight)


def test_effects_are_those_of_two_classes():
    one, two = (ComponentAttribution(model).effects(IMAGES, LABELS).scores for model in both())
    torch.testing.assert_close(one, two)


def test_a_loss_takes_several_labels_each():
    labels = torch.stack([LABELS, 1 - LABELS], dim=1)

    def loss(scores, target):
        return functional.binary_cross_entropy_with_logits(scores, target.double(), reduction="none").mean(1)

    model = both()[1]
    (gradient,) = torch.autograd.grad(loss(model(IMAGES), labels).mean(), model.conv.weight)
    torch.testing.assert_close(stepped(model, labels, loss), model.conv.weight - gradient)
