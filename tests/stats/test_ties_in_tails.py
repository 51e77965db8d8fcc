"""Values that occur several times: the probability of what was seen is about the share that it was seen in."""

import pytest
import torch

from captum_paramsal.functional import p_values_of
from captum_paramsal.stats import FilterTails, UpperTail


def shares_and_probabilities(values, fraction=0.1):
    tails = FilterTails.fit(UpperTail.of(values, fraction))
    shares = torch.stack([(values >= row).double().mean(dim=0) for row in values])
    return shares, p_values_of(tails.scores(values)), tails


@pytest.mark.parametrize("rounding", [0.0, 1e-8])
@pytest.mark.parametrize("times", [1, 10, 40])
@pytest.mark.parametrize("kind", ["uniform", "exponential", "normal"])
def test_a_set_that_is_repeated(kind, times, rounding):
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(400 // times, 12, generator=generator).double()
    values = {"uniform": values, "exponential": -values.log(), "normal": 3 + torch.erfinv(2 * values - 1)}[kind]
    values = values.repeat(times, 1)
    values *= 1 + rounding * torch.randn(values.shape, generator=generator).double()
    shares, probabilities, _ = shares_and_probabilities(values)
    above = probabilities < 1
    assert (probabilities[above] > shares[above] / 20).all()
    assert (probabilities[above] > 0.5 / (len(values) + 1)).all() or times == 1


def test_drawn_with_replacement():
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(300, 40, generator=generator).double()[torch.randint(300, (600,), generator=generator)]
    shares, probabilities, _ = shares_and_probabilities(values)
    above = probabilities < 1
    assert (probabilities[above] > shares[above] / 50).all()


def test_the_largest_value_of_a_uniform_tail():
    values = torch.cat([torch.arange(180.0), torch.full((20,), 250.0)])[:, None]
    tails = FilterTails.fit(UpperTail.of(values, 0.1))
    assert tails.pareto.count.tolist() == [0] or tails.pareto.shape.item() <= 1
    values = torch.cat([torch.arange(170.0), torch.full((30,), 250.0)])[:, None]
    values[:170] *= 1.2
    _, probabilities, tails = shares_and_probabilities(values, 0.2)
    assert tails.pareto.shape.item() == pytest.approx(-1)
    n = int(tails.pareto.count)
    assert probabilities[-1].item() == pytest.approx(tails.rate.item() * 30 / (n + 1), rel=1e-6)
