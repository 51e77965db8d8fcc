"""How sure a share of images is."""

from __future__ import annotations

from math import nan

import torch
from scipy.stats import binomtest
from torch import Tensor

from captum_paramsal.errors import InputError


def share_of(hits: Tensor) -> float:
    """Share of true values among ``(N,)`` bool; NaN where there is none at all."""
    return float(hits.double().mean())


def share_interval(hits: Tensor, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share, which stays within [0, 1] and holds for few images too.

    Args:
        hits: One bool per image, ``(N,)``, images being independent of each other.
        confidence: How often such an interval covers the true share, in (0, 1).

    Returns:
        Lower and upper end; NaN where there is no image.

    Raises:
        InputError: Not one bool per image, or a confidence outside (0, 1).

    References:
        Wilson, *Probable inference, the law of succession, and statistical inference*, J. Am. Stat. Assoc. 22 (1927).

    >>> [round(end, 3) for end in share_interval(torch.tensor([True, False, True, True]))]
    [0.301, 0.954]
    """
    if hits.ndim != 1 or hits.dtype != torch.bool or not 0 < confidence < 1:
        message = (
            f"Expected one bool per image, (N,), and a `confidence` between 0 and 1, got {hits.dtype} "
            f"{tuple(hits.shape)} and {confidence}."
        )
        raise InputError(message)
    if not len(hits):
        return nan, nan
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
