"""Mean and standard deviation of many quantities at once, in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of F quantities, in float64.

    Attributes:
        count: Rows seen, n.
        mean: ``(F,)``.
        deviations: Sum over the rows of (x - mean)², ``(F,)``.

    >>> merged = Moments.of(torch.tensor([[1.0], [2.0]])).merge(Moments.of(torch.tensor([[6.0]])))
    >>> merged.mean, merged.std
    (tensor([3.], dtype=torch.float64), tensor([2.6458], dtype=torch.float64))
    """

    count: int
    mean: Tensor
    deviations: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Moments:
        """Moments of rows ``(N, F)``, N at least 1."""
        wide = rows.detach().to(device="cpu", dtype=torch.float64)
        mean = wide.mean(dim=0)
        return cls(len(wide), mean, (wide - mean).square_().sum(dim=0))

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of rows together.

        ``mean = mean_a + δ n_b / n`` and ``deviations = deviations_a + deviations_b + δ² n_a n_b / n`` with
        δ = mean_b - mean_a; equal, up to rounding, to the moments of all rows in any order.

        References:
            Chan, Golub and LeVeque, *Updating formulae and a pairwise algorithm for computing sample variances*
            (1979), eq. 2.1.
        """
        count = self.count + other.count
        difference = other.mean - self.mean
        share = other.count / count
        return Moments(
            count,
            self.mean + difference * share,
            self.deviations + other.deviations + difference.square() * (self.count * share),
        )

    @property
    def std(self) -> Tensor:
        """Sample standard deviation, divisor n - 1, ``(F,)``; 0 for a quantity that never varied."""
        return (self.deviations / max(self.count - 1, 1)).sqrt()
