"""A score of every filter from mistakes and correct images together."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from captum_paramsal.filters import Filter, FilterIndex


@dataclass(frozen=True, eq=False)
class SetScores:
    """How suspicious every filter is after a set of mistakes and one of correct images.

    Attributes:
        filters: Which filter each score belongs to.
        score: ``(F,)`` float64, higher for a more suspicious filter.
        mistakes: How many there were.
        correct: How many correct images.
    """

    filters: FilterIndex
    score: Tensor
    mistakes: int
    correct: int

    def top(self, k: int = 10) -> list[Filter]:
        """The k filters of the highest score."""
        return self.filters.top(self.score[None], k)[0]
