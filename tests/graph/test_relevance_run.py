"""Relevance through functions, by its rules written out, and what has no rule."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from captum_paramsal.graph import Network, RelevanceRun, without_relevance

EPSILON = 1e-6


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def handed_back(function, *given):
    """Relevance of what a function was given, where that of its result is drawn at random."""
    leaves = [one.clone().requires_grad_() for one in given]
    with RelevanceRun():
        # As a model's layers do, on values that others have computed.
        result = function(*(leaf.view_as(leaf) for leaf in leaves))
    relevance = numbers(*result.shape, seed=9)
    return torch.autograd.grad(result, leaves, relevance), result.detach(), relevance


def away(value):
    return value + EPSILON * (1 if value >= 0 else -1)


def iadd(first, second):
    first += second
    return first


@pytest.mark.parametrize("add", [torch.add, lambda a, b: a + b, iadd, lambda a, b: a.add_(b)])
def test_a_sum_hands_back_by_shares(add):
    first, second = numbers(2, 3), numbers(2, 3, seed=1)
    found, result, relevance = handed_back(add, first, second)
    torch.testing.assert_close(result, first + second)
    for part, share in zip((first, second), found, strict=True):
        for place in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
            i, j = place
            expected = float(relevance[i, j]) * float(part[i, j]) / away(float(first[i, j] + second[i, j]))
            assert float(share[i, j]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "mean",
    [lambda x: x.mean((2, 3)), lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(1), lambda x: x.sum((2, 3)) / 6],
)
def test_a_mean_hands_back_by_shares(mean):
    maps = numbers(2, 3, 2, 3)
    (found,), _, relevance = handed_back(mean, maps)
    factor = 1 / 6
    for n in range(2):
        for k in range(3):
            total = sum(float(value) * factor for value in maps[n, k].flatten())
            for place, value in enumerate(maps[n, k].flatten().tolist()):
                expected = value * factor * float(relevance[n, k]) / away(total)
                assert float(found[n, k].flatten()[place]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "function",
    [
        torch.relu,
        functional.gelu,
        lambda x: functional.relu6(x, inplace=True),
        lambda x: x.clamp(min=0),
        lambda x: 3 * x,
        lambda x: x / 2,
        lambda x: functional.relu(input=x),
    ],
)
def test_what_takes_each_value_by_itself_hands_on_everything(function):
    given = numbers(2, 5)
    (found,), result, relevance = handed_back(function, given)
    torch.testing.assert_close(result, function(given.clone()))
    assert torch.equal(found, relevance)


class Around(nn.Module):
    """A convolution, something, and a head."""

    def __init__(self, something, layer=None):
        super().__init__()
        self.conv, self.layer, self.head = nn.Conv2d(1, 2, 3, padding=1), layer or nn.Identity(), nn.Linear(2, 3)
        self.something = something

    def forward(self, x):
        return self.head(self.something(self.layer(self.conv(x))).mean((2, 3)))


@pytest.mark.parametrize(
    ("something", "layer", "words"),
    [
        (lambda y: y * y.mean((2, 3), keepdim=True).sigmoid(), None, "mul"),
        (lambda y: y - y.relu(), None, "sub"),
        (lambda y: functional.layer_norm(y, y.shape[1:]), None, "layer_norm"),
        (lambda y: y, nn.GroupNorm(1, 2), "group_norm in 'layer'"),
        (lambda y: y.softmax(1), None, "softmax"),
        (lambda y: y.relu(), nn.BatchNorm2d(2), "batch_norm in 'layer'"),
        (lambda y: functional.conv2d(y, torch.ones(2, 2, 1, 1)), None, "conv2d"),
        (lambda y: y.logsumexp((2, 3), keepdim=True), None, "logsumexp"),
        (lambda y: y + y.mean((2, 3), keepdim=True), None, "add"),
    ],
)
def test_operations_without_a_rule_are_named(something, layer, words):
    network = Network.of(Around(something, layer).eval(), torch.ones(1, 1, 4, 4))
    assert words in without_relevance(network, [])


def test_operations_with_rules():
    def something(y):
        pooled = functional.max_pool2d((y + y.relu() + 1).flatten(1).view_as(y), 2)
        return torch.cat([functional.dropout(pooled, training=False), pooled], dim=1)[:, :2]

    network = Network.of(Around(something, nn.BatchNorm2d(2)).eval(), torch.ones(1, 1, 4, 4))
    assert without_relevance(network, ["layer"]) is None
