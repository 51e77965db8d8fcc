"""Generalized Pareto tails of many filters at once, by maximum likelihood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import numpy as np
import torch
from scipy.optimize import elementwise
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.functional.tails import anderson_darling, pareto_log_density
from captum_paramsal.stats.goodness import anderson_darling_p_value

TailMethod: TypeAlias = Literal["mle", "exponential"]

MINIMUM_EXCESSES = 20
"""Fewer cannot tell a shape: those tails are taken as exponential."""

FITTED_NUMBERS = 1 << 18
"""Excesses that are fitted together: 2 MiB, which stays in the caches."""

NEAREST_TAU = 1e-10
"""Closest to an exponential tail, for excesses in units of their median."""

BOUNDARY = -1 + 1e-9
"""Shape where the likelihood rises all the way down to -1, beyond which it has no bound."""

_POSITIVE_SHAPES = (0.02, 0.07, 0.15, 0.25, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0, 4.5, 7.0, 12.0, 20.0, 40.0)
_NEGATIVE_SHARES = (0.02, 0.08, 0.2, 0.4, 0.6, 0.75, 0.87, 0.94, 0.98, 0.995, 1 - 1e-3, 1 - 1e-5, 1 - 1e-8, 1 - 1e-12)
"""Where the likelihood is first looked at: shapes, on the scale of the median, and shares of the way to the end that
the largest excess allows."""


@dataclass(frozen=True, eq=False)
class GeneralizedPareto:
    """Shape and scale of every filter's tail, in float64.

    Attributes:
        shape: ξ above -1, ``(F,)``; 0 for an exponential tail, NaN without excesses.
        scale: σ, in the unit of the excesses, ``(F,)``.
        shape_error: Standard error of ξ, ``(1 + ξ) / √n``; 0 where ξ was set, NaN for ξ ≤ -1/2, where there is none.
        scale_error: Standard error of σ, ``σ √(2 (1 + ξ) / n)``, or ``σ / √n`` where ξ was set.
        log_likelihood: Sum of the log densities of the excesses.
        count: Excesses n, ``(F,)`` int64.
        fallback: Tails with fewer than 20 excesses, taken as exponential, ``(F,)`` bool.
        exponential: Tails whose shape was set to 0, by choice or as a fallback, ``(F,)`` bool.
    """

    shape: Tensor
    scale: Tensor
    shape_error: Tensor
    scale_error: Tensor
    log_likelihood: Tensor
    count: Tensor
    fallback: Tensor
    exponential: Tensor

    @classmethod
    def fit(cls, excesses: Tensor, method: TailMethod = "mle") -> GeneralizedPareto:
        """Fit the tail of every filter.

        ``"mle"`` maximizes the likelihood over ξ > -1 and σ. With ``τ = ξ / σ`` the best shape is the mean of
        ``log(1 + τ y)``, which leaves a curve over τ alone; its highest local maximum is taken. Where it has none and
        rises towards ξ = -1, the shape stays there and the scale is the largest excess. ``"exponential"`` keeps ξ = 0,
        so σ is the mean excess: what the ranking published with the paper amounts to.

        Args:
            excesses: ``(F, K)``; entries that are not above 0 are absent, the order within a row does not matter.
            method: ``"mle"`` or ``"exponential"``.

        Raises:
            InputError: Excesses that are not finite or not of shape (F, K), or another method.

        References:
            Grimshaw, *Computing maximum likelihood estimates for the generalized Pareto distribution* (1993); Smith,
            *Estimating tails of probability distributions* (1987), for the errors; Wang and Sato, arXiv 2310.17951.

        >>> y = -torch.log(torch.arange(0.5, 1000) / 1000).double()
        >>> tail = GeneralizedPareto.fit(torch.stack([y, 1e-6 * y]))
        >>> tail.shape, tail.scale
        (tensor([-0.00..., -0.00...], dtype=torch.float64), tensor([1.00...e+00, 1.00...e-06], dtype=torch.float64))
        """
        _require_excesses(excesses, method)
        step = max(1, FITTED_NUMBERS // max(excesses.shape[1], 1))
        parts = [_fit(part.detach().cpu().double().clamp(min=0), method) for part in excesses.split(step)]
        return cls(**{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)})

    def anderson_darling(self, excesses: Tensor) -> Tensor:
        """Distance A² of each filter's excesses from its fitted tail, ``(F,)``."""
        return torch.cat(
            [anderson_darling(rows.cpu().double(), shape, scale) for rows, shape, scale in self._chunks(excesses)]
        )

    def goodness_of_fit(self, excesses: Tensor) -> Tensor:
        """p-value of the Anderson-Darling test of each filter's tail, ``(F,)``; small where the tail does not fit."""
        return anderson_darling_p_value(self.anderson_darling(excesses), self.shape, exponential=self.exponential)

    def _chunks(self, excesses: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        step = max(1, FITTED_NUMBERS // max(excesses.shape[1], 1))
        return zip(excesses.split(step), self.shape.split(step), self.scale.split(step), strict=True)


def _fit(excesses: Tensor, method: TailMethod) -> GeneralizedPareto:
    """Fit some filters, ``(F, K)`` float64 with 0 for what is absent."""
    count = (excesses > 0).sum(dim=1)
    exponential = torch.full_like(count, method == "exponential", dtype=torch.bool)
    fallback = (count < MINIMUM_EXCESSES) & ~exponential
    exponential |= fallback
    shape = torch.zeros(len(excesses), dtype=torch.float64)
    scale = excesses.sum(dim=1) / count
    curved = (~exponential).nonzero()[:, 0]
    if len(curved):
        shape[curved], scale[curved] = _maximum_likelihood(excesses[curved], count[curved])
    density = pareto_log_density(excesses, shape[:, None], scale[:, None])
    shape_error, relative_error = _standard_errors(shape, count.double(), exponential)
    return GeneralizedPareto(
        shape=shape.masked_fill(count == 0, torch.nan),
        scale=scale,
        shape_error=shape_error,
        scale_error=scale * relative_error,
        log_likelihood=torch.where(excesses > 0, density, 0.0).sum(dim=1),
        count=count,
        fallback=fallback,
        exponential=exponential,
    )


def _standard_errors(shape: Tensor, count: Tensor, exponential: Tensor) -> tuple[Tensor, Tensor]:
    """Of ξ, and of σ relative to σ, from the expected information."""
    # Below -1/2 the likelihood is not regular, and the information says nothing about the error.
    irregular = shape <= -0.5
    of_shape = ((1 + shape) / count.sqrt()).masked_fill(irregular, torch.nan)
    of_scale = (2 * (1 + shape) / count).masked_fill(irregular, torch.nan)
    return torch.where(exponential, 0.0, of_shape), torch.where(exponential, 1 / count, of_scale).sqrt()


class _Likelihood:
    """Mean log likelihood of some filters as a function of τ = ξ / σ, the best shape for each τ put in."""

    def __init__(self, excesses: Tensor, count: Tensor) -> None:
        self.excesses = excesses
        self.count = count

    def at(self, tau: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Shape, value up to a constant, and slope of the value, at one τ for each filter."""
        excesses, count = (self.excesses, self.count) if rows is None else (self.excesses[rows], self.count[rows])
        # At 0 itself the slope is 0 / 0; this near, it is what it is there.
        tau = torch.where(tau.abs() < NEAREST_TAU, NEAREST_TAU, tau)
        product = tau[:, None] * excesses
        shape = product.log1p().sum(dim=1) / count
        rise = (excesses / product.add_(1)).sum(dim=1) / count
        return shape, -torch.log(shape / tau) - shape, (1 - tau * rise / shape) / tau - rise


def _maximum_likelihood(excesses: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Shape and scale of filters with enough excesses."""
    # In units of the median, the fit does not depend on the scale of the excesses.
    middle = excesses.masked_fill(excesses <= 0, torch.nan).nanmedian(dim=1).values
    likelihood = _Likelihood(excesses / middle[:, None], count)
    largest = likelihood.excesses.amax(dim=1)
    rows, tau = _local_maxima(likelihood, _first_looks(largest))
    shape, value, _ = likelihood.at(tau, rows)
    # Rising order of value, so that the highest of a filter's maxima is written last.
    order = value.argsort()
    shapes, scales = torch.full_like(largest, BOUNDARY), largest.clone()
    for row, fitted, scale in zip(rows[order].tolist(), shape[order], (shape / tau)[order], strict=True):
        shapes[row], scales[row] = fitted, scale
    return shapes, scales * middle


def _first_looks(largest: Tensor) -> list[Tensor]:
    """Ascending values of τ to look at, ``(F,)`` each, for excesses in units of their median."""
    negative = [-share / largest for share in reversed(_NEGATIVE_SHARES)]
    return negative + [torch.full_like(largest, 2.0**shape - 1) for shape in _POSITIVE_SHAPES]


def _local_maxima(likelihood: _Likelihood, looks: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows and values of τ of all local maxima with ξ > -1."""
    seen = [likelihood.at(tau) for tau in looks]
    # A sign change of the slope brackets a maximum, also where the likelihood itself is too flat to compare.
    slopes = torch.stack([slope for _, _, slope in seen])
    allowed = torch.stack([shape > -1 for shape, _, _ in seen])
    place, rows = ((slopes[:-1] > 0) & (slopes[1:] <= 0) & allowed[:-1]).nonzero().unbind(dim=1)
    if not len(rows):
        return rows, torch.empty(0, dtype=torch.float64)
    taus = torch.stack(looks)

    def slope(tau: np.ndarray, number: np.ndarray) -> np.ndarray:
        return likelihood.at(torch.from_numpy(tau), rows[torch.from_numpy(number)])[2].numpy()

    # All brackets of all filters at once: SciPy's own loop over filters would take minutes for a network.
    root = elementwise.find_root(
        slope,
        (taus[place, rows].numpy(), taus[place + 1, rows].numpy()),
        args=(np.arange(len(rows)),),
        tolerances={"xrtol": 1e-11, "xatol": NEAREST_TAU},
    )
    return rows, torch.from_numpy(root.x)


def _require_excesses(excesses: Tensor, method: str) -> None:
    if method not in ("mle", "exponential"):
        message = f"Expected the tails to be fitted by 'mle' or 'exponential', got {method!r}."
        raise InputError(message)
    if excesses.ndim != 2:
        message = f"Expected excesses of shape (F, K), one row per filter, got {tuple(excesses.shape)}."
        raise InputError(message)
    bad = (~torch.isfinite(excesses)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        message = f"Expected finite excesses, got {excesses[row, column].item()} for filter {row}."
        raise InputError(message)
