"""Held-out data from the distribution of the reference: p-values below a level are as many as the level says.

Every filter has 5,000 reference images, of which the largest tenth make its tail, and 2,000 held-out ones. Where the
tail is generalized Pareto (exponential, Pareto), only sampling and the estimation of two numbers from 500 excesses
remain; elsewhere the generalized Pareto is the limit of the tail above ever higher thresholds, not yet reached at the
90th percentile, and the distance to it is allowed for by name.
"""

import math
from functools import cache

import numpy as np
import pytest
import torch
from oracles.generalized_pareto import simulate

from captum_paramsal.stats import FilterTails, UpperTail

FILTERS, REFERENCE, HELD_OUT = 250, 5000, 2000
FRACTION = 0.1
LEVELS = (0.05, 0.01, 0.005, 0.001)
LOGNORMAL = math.sqrt(math.log(1 + 2.25**2))  # a coefficient of variation of 2.25, as in real profiles

DRAWS = {
    "exponential": lambda rng, size: 1e-3 * rng.exponential(size=size),
    "Pareto, shape 0.4": lambda rng, size: simulate(rng, size, 0.4, 7e-3),
    "Pareto, shape -0.3": lambda rng, size: simulate(rng, size, -0.3, 7e-8),
    "lognormal": lambda rng, size: rng.lognormal(-5, LOGNORMAL, size),
    "gamma": lambda rng, size: 1e-2 * rng.gamma(0.5, size=size),
    "normal": lambda rng, size: np.abs(rng.normal(size=size)),
}
MORE = {"Pareto, shape -0.3", "gamma", "normal"}
EXACT = {"exponential", "Pareto, shape 0.4", "Pareto, shape -0.3"}


@cache
def p_values(name, method="mle"):
    """(HELD_OUT, FILTERS) p-values of images that the tails have not seen; 1 at or below the threshold."""
    rng = np.random.default_rng(sorted(DRAWS).index(name))
    draw = DRAWS[name]
    tail = UpperTail.of(torch.tensor(draw(rng, (REFERENCE, FILTERS))), FRACTION)
    tails = FilterTails.fit(tail, method=method)
    held_out = torch.tensor(draw(rng, (HELD_OUT, FILTERS)))
    return (-tails.scores(held_out)).exp(), held_out > tail.threshold, tails


def sampling_error(level):
    """Of the share of p-values below a level over all filters: counting, and quantiles from a finite reference.

    The counted share of a filter varies by about ``level / HELD_OUT``; its true share below an estimated quantile by
    about ``level / REFERENCE``.
    """
    return math.sqrt((level / HELD_OUT + level / REFERENCE) / FILTERS)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in MORE)) for n in DRAWS])
def test_shares_below_the_levels(name):
    p, _, _ = p_values(name)
    assert ((p >= 0) & (p <= 1)).all()
    for level in LEVELS:
        share = float((p <= level).double().mean())
        allowed = 3 * sampling_error(level)
        # Plugging estimates into a quantile makes extremes a little too frequent: 1 / excesses, growing outwards.
        allowed += level * 3 * math.log(FRACTION / level) ** 2 / (FRACTION * REFERENCE)
        if name not in EXACT:
            allowed += {0.05: 0.02, 0.01: 0.03, 0.005: 0.05, 0.001: 0.15}[level] * level
        assert share == pytest.approx(level, abs=allowed), f"{share:.6f} of the p-values are at most {level}"


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in MORE)) for n in DRAWS])
def test_p_values_of_the_tail_are_uniform(name):
    p, above, tails = p_values(name)
    share = float(above.double().mean())
    assert share == pytest.approx(FRACTION, abs=4 * sampling_error(FRACTION) + 1 / REFERENCE)
    uniform = (p / tails.rate)[above].sort().values
    expected = torch.arange(1, len(uniform) + 1).double() / len(uniform)
    distance = float((uniform - expected).abs().max())
    # Kolmogorov's 99.9 % quantile.
    limit = 1.95 / math.sqrt(FRACTION * HELD_OUT * FILTERS) + (0 if name in EXACT else 0.01)
    assert distance < limit, f"{distance:.4f} from uniform, {limit:.4f} allowed"


def test_every_filter_is_calibrated_by_itself():
    p, _, _ = p_values("Pareto, shape 0.4")
    shares = (p <= 0.01).double().mean(dim=0)
    error = sampling_error(0.01) * math.sqrt(FILTERS)
    assert float((shares - 0.01).abs().max()) < 4 * error


def test_an_exponential_fit_of_a_heavy_tail_is_not_calibrated():
    """Why the published ranking needs another name: with shape 0.4, extremes are three times as frequent as it says."""
    p, _, _ = p_values("Pareto, shape 0.4", method="exponential")
    assert float((p <= 0.001).double().mean()) > 0.003
    q, _, _ = p_values("exponential", method="exponential")
    assert float((q <= 0.001).double().mean()) == pytest.approx(0.001, abs=4 * sampling_error(0.001) + 5e-5)
