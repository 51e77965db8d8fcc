"""The tabulated quantiles of the Anderson-Darling distance are those of a simulation."""

import pytest
import torch
from oracles.anderson_darling import simulated_quantiles

from captum_paramsal.stats.goodness import LEVELS, anderson_darling_p_value


@pytest.mark.parametrize(("shape", "exponential"), [(-0.2, False), (0.0, True), (0.5, False)])
def test_tabulated_quantiles_are_simulated_ones(shape, exponential):
    quantiles = simulated_quantiles(shape, exponential=exponential, samples=1000)
    shapes, flags = torch.full_like(quantiles, shape), torch.full(quantiles.shape, exponential)
    p_values = anderson_darling_p_value(quantiles, shapes, exponential=flags)
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    # Four standard errors of a share among 1,000 simulated tails.
    assert ((p_values - levels).abs() < 4 * (levels * (1 - levels) / 1000).sqrt() + 1e-3).all()
