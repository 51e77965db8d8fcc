"""How likely an Anderson-Darling distance is where the tail was fitted to the very excesses it is measured on.

``python tests/oracles/anderson_darling.py`` simulates the tables again.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEVELS = (0.99, 0.95, 0.9, 0.75, 0.5, 0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.0025)
"""Probabilities of a larger distance: the columns of the tables."""

SHAPES = (-0.5, -0.35, -0.2, -0.1, 0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""True shapes: the rows of the table."""

_BOTH_FITTED = (
    (0.1537, 0.2030, 0.2387, 0.3195, 0.4560, 0.6666, 0.9540, 1.1855, 1.4203, 1.7483, 2.0069, 2.2618),
    (0.1488, 0.1955, 0.2297, 0.3059, 0.4338, 0.6306, 0.8965, 1.1114, 1.3311, 1.6349, 1.8666, 2.0802),
    (0.1445, 0.1892, 0.2219, 0.2941, 0.4142, 0.5986, 0.8441, 1.0429, 1.2495, 1.5293, 1.7354, 1.9486),
    (0.1416, 0.1856, 0.2172, 0.2868, 0.4025, 0.5787, 0.8145, 1.0048, 1.1992, 1.4664, 1.6723, 1.8614),
    (0.1395, 0.1828, 0.2130, 0.2805, 0.3925, 0.5611, 0.7867, 0.9664, 1.1518, 1.4032, 1.6100, 1.7842),
    (0.1372, 0.1797, 0.2094, 0.2748, 0.3833, 0.5448, 0.7600, 0.9328, 1.1085, 1.3531, 1.5436, 1.7259),
    (0.1355, 0.1775, 0.2059, 0.2700, 0.3747, 0.5304, 0.7353, 0.9033, 1.0737, 1.3031, 1.4855, 1.6716),
    (0.1336, 0.1741, 0.2017, 0.2636, 0.3640, 0.5125, 0.7063, 0.8635, 1.0222, 1.2405, 1.4040, 1.5906),
    (0.1313, 0.1713, 0.1984, 0.2589, 0.3551, 0.4980, 0.6825, 0.8302, 0.9845, 1.1880, 1.3545, 1.5188),
    (0.1296, 0.1681, 0.1941, 0.2524, 0.3439, 0.4788, 0.6521, 0.7878, 0.9286, 1.1225, 1.2696, 1.4258),
    (0.1284, 0.1658, 0.1918, 0.2480, 0.3365, 0.4659, 0.6305, 0.7584, 0.8923, 1.0745, 1.2164, 1.3633),
)
"""Distances exceeded with those probabilities where shape and scale are fitted to 200 excesses (100,000 samples)."""

_SCALE_FITTED = (0.1599, 0.2143, 0.2539, 0.3437, 0.4954, 0.7335, 1.0637, 1.3265, 1.5861, 1.9628, 2.2494, 2.5449)
"""The same where only the scale of an exponential tail is fitted."""


def anderson_darling_p_value(distance: Tensor, shape: Tensor, *, exponential: Tensor) -> Tensor:
    """Probability of a larger Anderson-Darling distance if the tail is what it was fitted as.

    Interpolated in a table of simulated quantiles: log probability between levels, and beyond the last one on the line
    through the last two. The distance's distribution depends on the shape, taken as the fitted one, and hardly on the
    number of excesses.

    Args:
        distance: A², ``(F,)``.
        shape: Fitted ξ, ``(F,)``; beyond -0.5 and 1 the nearest of them.
        exponential: Whether ξ = 0 was set and not fitted, ``(F,)`` bool.

    Returns:
        ``(F,)`` float64; NaN where the distance is.

    References:
        Choulakian and Stephens, *Goodness-of-fit tests for the generalized Pareto distribution*, Technometrics 43
        (2001), who tabulate the same quantiles; Stephens (1974), for the exponential.
    """
    rows = np.array(_BOTH_FITTED)
    place = np.interp(shape.nan_to_num(0.0).cpu().numpy(), SHAPES, range(len(SHAPES)))
    low = np.minimum(place.astype(int), len(SHAPES) - 2)
    weight = (place - low)[:, None]
    quantiles = np.where(
        exponential.cpu().numpy()[:, None], np.array(_SCALE_FITTED), rows[low] * (1 - weight) + rows[low + 1] * weight
    )
    return _log_linear(distance.double().cpu(), torch.from_numpy(quantiles))


def _log_linear(distance: Tensor, quantiles: Tensor) -> Tensor:
    """Interpolate the logarithm of the levels between quantiles ``(F, L)``, rising."""
    levels = torch.tensor(LEVELS, dtype=torch.float64).log()
    place = (torch.searchsorted(quantiles.contiguous(), distance[:, None])[:, 0] - 1).clamp(0, len(LEVELS) - 2)
    left, right = (quantiles.gather(1, (place + step)[:, None])[:, 0] for step in (0, 1))
    slope = (levels[place + 1] - levels[place]) / (right - left)
    return torch.exp(levels[place] + slope * (distance - left)).clamp(max=1.0)
