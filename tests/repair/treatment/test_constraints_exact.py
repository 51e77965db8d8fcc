"""The treatment's constraints: equal to sums over samples, channels and places one by one, gradients included."""

import pytest
import torch
from cases import doctor_networks as nets, tracing_networks as parts
from cases.images import image
from oracles import model_doctor as oracle
from oracles.weights import seeded
from torch import nn

from captum_paramsal.repair import channel_constraint, space_constraint

NETWORKS = {
    "straight": (nets.straight, 1),
    "smooth": (lambda: nn.Sequential(nn.Conv2d(2, 5, 3), nn.Tanh(), nn.Conv2d(5, 4, 3), nn.SiLU(), *parts.gap(4)), 1),
    "normalized": (lambda: nn.Sequential(*parts.conv_bn(2, 5), *parts.conv_bn(5, 4), *parts.gap(4)), 1),
    "linear": (lambda: nn.Sequential(*parts.conv(2, 4), *parts.gap(4)), 2),
    "class scores": (
        lambda: nn.Sequential(*parts.conv(2, 5), nn.Conv2d(5, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        1,
    ),
}
RULES = [oracle.Rules(), oracle.Rules("relu", multiply_by_inputs=True)]
MORE_RULES = [oracle.Rules("relu"), oracle.Rules(multiply_by_inputs=True)]
ALL_RULES = [*RULES, *(pytest.param(rules, marks=pytest.mark.slow) for rules in MORE_RULES)]
TERMS = [("label", "masked"), ("predicted", "all")]
MORE_TERMS = [("label", "all"), ("predicted", "masked")]
ALL_TERMS = [*TERMS, *(pytest.param(*terms, marks=pytest.mark.slow) for terms in MORE_TERMS)]


class Built:
    def __init__(self, name):
        build, cut = NETWORKS[name]
        x = image(4, 2, 8, 8)
        self.model = seeded(build().double(), x)
        self.front, self.tail = self.model[:cut], self.model[cut:]
        self.x = x
        with torch.no_grad():
            order = self.model(x).argsort(1, descending=True)
        self.labels = torch.stack([order[0, 0], order[1, 0], order[2, 1], order[3, 3]])  # right, right, wrong, wrong
        channels = self.front(x[:1]).shape[1]
        self.relevant = torch.rand(4, channels, generator=torch.Generator().manual_seed(1)) < 0.4
        self.relevant.fill_diagonal_(True)

    def maps(self):
        maps = self.front(self.x)
        return maps if maps.requires_grad else maps.requires_grad_()

    def weights(self):
        return list(self.model.parameters())

    def gradients(self, value):
        found = torch.autograd.grad(value, self.weights(), allow_unused=True)
        return [torch.zeros_like(w) if g is None else g for g, w in zip(found, self.weights(), strict=True)]

    def require_equal(self, found, expected):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
        assert found.requires_grad
        for ours, theirs in zip(self.gradients(found), self.gradients(expected), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-11)


@pytest.fixture(scope="module", params=NETWORKS)
def built(request):
    return Built(request.param)


@pytest.mark.parametrize(("first", "second"), ALL_TERMS)
@pytest.mark.parametrize("rules", ALL_RULES, ids=str)
def test_channel_constraint(built, first, second, rules):
    maps = built.maps()
    scores = built.tail(maps.clone())
    found = channel_constraint(
        scores, maps, built.labels, built.relevant, first=first, second=second,
        reduce=rules.reduce, multiply_by_inputs=rules.multiply_by_inputs,
    )  # fmt: skip
    expected = oracle.channel_constraint(
        built.tail, built.maps(), built.labels.tolist(), built.relevant, first=first, second=second, rules=rules
    )
    built.require_equal(found, expected)


@pytest.mark.parametrize("rules", ALL_RULES, ids=str)
@pytest.mark.parametrize("size", ["picture", pytest.param("map", marks=pytest.mark.slow)])
def test_space_constraint(built, rules, size):
    maps = built.maps()
    height = maps.shape[2]
    side = height if size == "map" else 4 * height
    foreground = torch.rand(4, side, side, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    foreground[0] = 1
    scores = built.tail(maps.clone())
    found = space_constraint(
        scores, maps, built.labels, foreground, reduce=rules.reduce, multiply_by_inputs=rules.multiply_by_inputs
    )
    expected = oracle.space_constraint(built.tail, built.maps(), built.labels.tolist(), foreground, rules=rules)
    built.require_equal(found, expected)


@pytest.mark.parametrize("kind", ["channel", "space"])
def test_gradients_are_the_constraints_slopes(kind):
    built = Built("smooth")
    foreground = torch.rand(4, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def value():
        maps = built.maps()
        scores = built.tail(maps.clone())
        if kind == "channel":
            return channel_constraint(scores, maps, built.labels, built.relevant)
        return space_constraint(scores, maps, built.labels, foreground)

    generator = torch.Generator().manual_seed(0)
    analytic = built.gradients(value())
    assert any(float(gradient.abs().max()) > 1e-3 for gradient in analytic)
    for weight, gradient in zip(built.weights(), analytic, strict=True):
        direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        values, there = [], weight.data.clone()
        for step in (1e-6, -1e-6):
            weight.data = there + step * direction
            values.append(value().item())
        weight.data = there
        slope = (values[0] - values[1]) / 2e-6
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-8)
