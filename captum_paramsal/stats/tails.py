"""Tail of every filter: where it begins, how often it is reached, and how it falls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.functional import detached, tail_scores
from captum_paramsal.functional.profile import SAME
from captum_paramsal.stats.pareto import BOUNDARY, MINIMUM_EXCESSES, GeneralizedPareto, TailMethod
from captum_paramsal.stats.upper_tail import UpperTail


@dataclass(frozen=True, eq=False)
class FilterTails:
    """Peaks over threshold: ``P(S > s) = rate · P(Y > s - threshold)`` above each filter's threshold.

    A tail of shape -1 ends at the largest excess, as where an image that occurs several times is the largest: the fit
    gives no probability to what was seen. There the largest of n excesses, k times, has a probability of
    ``rate · k / (n + 1)``.

    Attributes:
        threshold: t, ``(F,)`` float64.
        rate: Share of the reference set strictly above the threshold, ``(F,)`` float64; 0 for a dead filter.
        pareto: Shape and scale of the excesses over it.
        goodness_of_fit: p-value of the Anderson-Darling test of each tail, ``(F,)``.
        end: Excess from which on a tail of shape -1 has no probability, ``(F,)``; its scale.
    """

    threshold: Tensor
    rate: Tensor
    pareto: GeneralizedPareto
    goodness_of_fit: Tensor
    end: Tensor

    @classmethod
    def fit(cls, tail: UpperTail, method: TailMethod = "mle") -> FilterTails:
        """Fit the tail of every filter.

        Args:
            tail: The largest values over the reference set.
            method: See :meth:`GeneralizedPareto.fit`.

        References:
            Wang and Sato, *Understanding Parameter Saliency via Extreme Value Theory*, arXiv 2310.17951, section 3.

        >>> values = -torch.log1p(-torch.arange(1000) / 1000.0)[:, None]
        >>> tails = FilterTails.fit(UpperTail.of(values, 0.1), "exponential")
        >>> tails.rate, tails.pareto.scale
        (tensor([0.0990], dtype=torch.float64), tensor([0.97...], dtype=torch.float64))
        """
        excesses = tail.excesses
        # One value several times has no tail, however it was rounded each time.
        rounded = excesses[:, 0] <= SAME * tail.values[:, 0].double().abs()
        excesses = excesses.masked_fill(rounded[:, None], 0.0)
        pareto = GeneralizedPareto.fit(excesses, method)
        rate, fits = pareto.count.double() / tail.count, pareto.goodness_of_fit(excesses)
        return cls(tail.threshold.double(), rate, pareto, fits, _end_of_uniform(tail, pareto.count))

    @property
    def scale(self) -> Tensor:
        """Scale that probabilities are computed with, ``(F,)``: that of the fit, and the end of a tail of shape -1."""
        return self.end.where(self.pareto.shape <= BOUNDARY, self.pareto.scale)

    def scores(self, profile: Tensor) -> Tensor:
        """-log tail probability of a profile ``(N, F)`` in nats, see :func:`captum_paramsal.functional.tail_scores`.

        Computed in float64 and returned in the type of the profile; differentiable.
        """
        threshold, rate, shape, scale = (
            detached(value).to(profile.device) for value in (self.threshold, self.rate, self.pareto.shape, self.scale)
        )
        scores = tail_scores(profile.double() - threshold, rate, shape, scale)
        return scores.to(profile.dtype)

    def to_table(self) -> list[dict[str, Any]]:
        """One row per filter: threshold, rate, exceedances, shape and scale with their errors, goodness of fit."""
        columns = {
            "threshold": self.threshold,
            "rate": self.rate,
            "exceedances": self.pareto.count,
            "shape": self.pareto.shape,
            "shape_error": self.pareto.shape_error,
            "scale": self.pareto.scale,
            "scale_error": self.pareto.scale_error,
            "goodness_of_fit": self.goodness_of_fit,
            "fallback": self.pareto.fallback,
        }
        return [
            dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)
        ]


def _end_of_uniform(tail: UpperTail, count: Tensor) -> Tensor:
    """End of a uniform tail whose largest excess, of n the one that occurs k times, is reached by ``k / (n + 1)``."""
    largest = tail.values[:, :1].double()
    times = (largest - tail.values.double() <= SAME * largest.abs()).sum(dim=1).minimum(count)
    return (largest[:, 0] - tail.threshold.double()) * (count + 1) / (count + 1 - times)


@dataclass(frozen=True, eq=False)
class ThresholdStability:
    """Fits of one tail over rising thresholds; above a good threshold shape and modified scale stay level.

    Attributes:
        threshold: t, ``(T,)``, rising.
        count: Excesses over it.
        shape: ξ.
        shape_error: Its standard error.
        modified_scale: ``σ - ξ t``, which does not depend on the threshold where the tail is generalized Pareto.
        modified_scale_error: Its standard error.
    """

    threshold: Tensor
    count: Tensor
    shape: Tensor
    shape_error: Tensor
    modified_scale: Tensor
    modified_scale_error: Tensor


def threshold_stability(values: Tensor, thresholds: int = 20) -> ThresholdStability:
    """Fit one filter's tail over rising thresholds.

    Args:
        values: The filter's largest values, ``(K,)``, such as a row of :attr:`UpperTail.values`; -inf is absent.
        thresholds: How many, from the smallest value up to where 20 excesses are left.

    Raises:
        InputError: Too few values for two thresholds.

    References:
        Coles, *An Introduction to Statistical Modeling of Extreme Values* (2001), section 4.3.4.
    """
    falling = values[values > -torch.inf].double().sort(descending=True).values
    places = torch.linspace(len(falling) - 1, MINIMUM_EXCESSES, thresholds).long().unique().flip(0)
    if len(falling) <= MINIMUM_EXCESSES + 1 or len(places) < 2:
        message = f"Expected more than {MINIMUM_EXCESSES + 1} values to vary the threshold, got {len(falling)}."
        raise InputError(message)
    threshold = falling[places]
    excesses = (falling - threshold[:, None]).clamp(min=0)
    fit = GeneralizedPareto.fit(excesses)
    # Var(σ - ξ t) with Cov(ξ, σ) = -σ (1 + ξ) / n (Smith, 1987).
    covariance = -fit.scale * (1 + fit.shape) / fit.count
    variance = fit.scale_error**2 + (threshold * fit.shape_error) ** 2 - 2 * threshold * covariance
    return ThresholdStability(
        threshold, fit.count, fit.shape, fit.shape_error, fit.scale - fit.shape * threshold, variance.sqrt()
    )
