"""Quantiles of the Anderson-Darling distance of fitted tails, by simulation: the tables of ``stats/goodness.py``."""

import torch

from captum_paramsal.stats.goodness import LEVELS, SHAPES
from captum_paramsal.stats.pareto import GeneralizedPareto


def simulated_quantiles(shape, *, exponential, samples, excesses=200, seed=0):
    """Distances exceeded with the probabilities of :data:`LEVELS`, by simulation.

    Args:
        shape: True ξ.
        exponential: Fit the scale alone.
        samples: Simulated tails.
        excesses: In each of them.
        seed: Of the random stream.
    """
    uniform = torch.rand(samples, excesses, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    simulated = -torch.log1p(-uniform) if shape == 0 else torch.expm1(-shape * torch.log1p(-uniform)) / shape
    tail = GeneralizedPareto.fit(simulated, "exponential" if exponential else "mle")
    return torch.quantile(tail.anderson_darling(simulated), 1 - torch.tensor(LEVELS, dtype=torch.float64))


if __name__ == "__main__":
    for true_shape in SHAPES:
        row = simulated_quantiles(true_shape, exponential=False, samples=100_000)
        print(f"    ({', '.join(f'{value:.4f}' for value in row.tolist())}),")
    row = simulated_quantiles(0.0, exponential=True, samples=100_000)
    print(f"({', '.join(f'{value:.4f}' for value in row.tolist())})")
