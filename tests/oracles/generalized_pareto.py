"""The generalized Pareto distribution, one sample at a time and slowly: likelihood, three fits and a test of fit.

``P(Y > y) = (1 + shape * y / scale) ** (-1 / shape)``, exponential at shape 0, ending at ``-scale / shape`` below it.
Fits are by maximum likelihood over ``shape > -1``: beyond it the likelihood grows without bound as the end of the
distribution approaches the largest value (Grimshaw, "Computing maximum likelihood estimates for the generalized Pareto
distribution", Technometrics 1993). Maximum means the highest local one; where there is none, the likelihood grows all
the way to shape -1, the uniform distribution that ends at the largest value, and this stands for the maximum.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import genpareto

Sample = NDArray[np.float64]


class Fit(NamedTuple):
    shape: float
    scale: float
    log_likelihood: float


def log_survival(y: float, shape: float, scale: float) -> float:
    """Log P(Y > y); minus infinity at and beyond a finite end."""
    if shape == 0:
        return -y / scale
    inside = shape * y / scale
    return -math.inf if inside <= -1 else -math.log1p(inside) / shape


def log_density(y: float, shape: float, scale: float) -> float:
    survival = log_survival(y, shape, scale)
    return -math.inf if survival == -math.inf else (1 + shape) * survival - math.log(scale)


def log_likelihood(y: Sample, shape: float, scale: float) -> float:
    """Sum of the log densities; minus infinity where a value lies beyond the end."""
    if shape == -1:  # uniform up to the scale, which the largest value may equal
        return -len(y) * math.log(scale) if y.max() <= scale else -math.inf
    if shape == 0:
        return -len(y) * math.log(scale) - float(np.sum(y)) / scale
    inside = shape * y / scale
    if inside.min() <= -1:
        return -math.inf
    return -len(y) * math.log(scale) - (1 + 1 / shape) * float(np.sum(np.log1p(inside)))


def scipy_fit(y: Sample) -> Fit:
    """SciPy's fit with the lower end at 0, of the values as they are and of the values over their mean: the better.

    SciPy searches with absolute tolerances, so values of the order of 1e-8 need the second one. Its shape may be below
    -1, where the likelihood has no maximum.
    """
    mean = float(y.mean())
    fits = []
    for unit in (1.0, mean):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            shape, _, scale = genpareto.fit(y / unit, floc=0)
        if scale > 0:
            fits.append(Fit(float(shape), float(scale * unit), log_likelihood(y, shape, scale * unit)))
    return max(fits, key=lambda fit: fit.log_likelihood)


def grimshaw(y: Sample, grid: int = 400) -> Fit:
    """The most likely root of Grimshaw's equation above shape -1, or the exponential; uniform where there is no root.

    With t = shape / scale, the likelihood's two conditions become ``u(t) v(t) = 1`` for ``u = 1 + mean log(1 + t y)``
    and ``v = mean 1 / (1 + t y)``; then shape = u - 1. Roots lie in ``(-1 / max y, 0)`` and in
    ``(0, 2 (mean - min) / min ** 2]``; 0 always solves it, maximum or not, and stands for the exponential.
    """
    unit = float(y.mean())
    z = y / unit
    largest, smallest = float(z.max()), float(z.min())

    def equation(t: float) -> float:
        return (1 + float(np.mean(np.log1p(t * z)))) * float(np.mean(1 / (1 + t * z))) - 1

    upper = min(max(2 * (1 - smallest) / smallest**2, 1e-3), 1e12)
    distances = np.geomspace(1e-12, 1 - 1e-7, grid)  # from the end of the left bracket, densest there
    left = -1 / largest * (1 - np.concatenate([distances[distances < 0.5], 1 - np.geomspace(0.5, 1e-7, grid)]))
    brackets = [left, np.geomspace(1e-7, upper, 2 * grid)]
    roots = []
    for points in brackets:
        values = [equation(t) for t in points]
        for a, b, at_a, at_b in zip(points, points[1:], values, values[1:], strict=False):
            if at_a * at_b < 0:
                t = brentq(equation, a, b, xtol=1e-300, rtol=8.9e-16)
                shape = float(np.mean(np.log1p(t * z)))
                if shape > -1 and shape != 0:
                    roots.append(Fit(shape, shape / t * unit, log_likelihood(y, shape, shape / t * unit)))
    uniform = Fit(-1.0, float(y.max()), -len(y) * math.log(float(y.max())))
    return max([exponential(y), *(roots or [uniform])], key=lambda fit: fit.log_likelihood)


def best_fit(y: Sample) -> Fit:
    """The better of SciPy's and Grimshaw's; Grimshaw's where SciPy went below shape -1."""
    mine, theirs = grimshaw(y), scipy_fit(y)
    return theirs if theirs.shape > -1 and theirs.log_likelihood > mine.log_likelihood else mine


def exponential(y: Sample) -> Fit:
    mean = float(y.mean())
    return Fit(0.0, mean, log_likelihood(y, 0, mean))


def anderson_darling(y: Sample, shape: float, scale: float) -> float:
    """``A^2 = -n - (1 / n) sum (2 i - 1) (log F(y_i) + log(1 - F(y_(n + 1 - i))))`` of the sorted values."""
    ordered = sorted(float(value) for value in y)
    count = len(ordered)
    total = 0.0
    for i in range(1, count + 1):
        below = math.log(-math.expm1(log_survival(ordered[i - 1], shape, scale)))
        above = log_survival(ordered[count - i], shape, scale)
        total += (2 * i - 1) * (below + above)
    return -count - total / count


def simulate(
    rng: np.random.Generator, count: int | tuple[int, ...], shape: float, scale: float, levels: int | None = None
) -> Sample:
    """Values by the inverse of the distribution function.

    Args:
        rng: Where the uniform numbers come from.
        count: How many, or a shape.
        shape: Of the distribution.
        scale: Of the distribution.
        levels: Round up to a multiple of the 90 % quantile over ``levels``: that many values hold nine tenths.
    """
    uniform = 1 - rng.random(count)  # in (0, 1]
    y = -scale * np.log(uniform) if shape == 0 else scale * np.expm1(-shape * np.log(uniform)) / shape
    y = np.where(y > 0, y, scale * 1e-16)
    if levels is None:
        return y
    quantile = scale * math.log(10) if shape == 0 else scale * math.expm1(shape * math.log(10)) / shape
    step = quantile / levels
    return np.ceil(y / step) * step
