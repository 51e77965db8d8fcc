"""What a method's score means: its unit, and from where on a filter is unusual."""

from __future__ import annotations

import math
from typing import Literal, Protocol, TypeAlias

from scipy.stats import false_discovery_control
from torch import Tensor, from_numpy

from captum_paramsal.functional.tails import p_values_of

SaliencyMethod: TypeAlias = Literal["parameter", "pot"]

UNUSUAL = 3.0
"""Standard deviations above the reference from which on a filter is called unusual."""

FALSE_DISCOVERIES = 0.05
"""Share of an image's significant filters that may be there by chance, on average."""


class ScoreScale(Protocol):
    """How the scores of one method are read.

    Attributes:
        unit: Of a score.
        lowest: A filter is only blamed for a score above it.
        ceiling: Scores above it count as this much in a mean, so that one alone cannot set it.
    """

    unit: str
    lowest: float
    ceiling: float

    def unusual(self, scores: Tensor) -> Tensor:
        """Which filters are unusual for each image, ``(N, F)`` bool."""
        ...

    def p_values(self, scores: Tensor) -> Tensor | None:
        """How probable each score is over the reference, ``(N, F)`` float64; None where the method does not say."""
        ...

    def limit(self, unusual: int, filters: int) -> float:
        """Score from which on a filter of an image is unusual, given how many of all its filters are."""
        ...


class StandardDeviations:
    """Scores of parameter saliency: unusual above 3."""

    unit = "standard deviations"
    lowest = -math.inf
    ceiling = math.inf

    def unusual(self, scores: Tensor) -> Tensor:
        """Above 3."""
        return scores > UNUSUAL

    def p_values(self, scores: Tensor) -> None:
        """A distance in standard deviations alone has no probability."""

    def limit(self, unusual: int, filters: int) -> float:  # noqa: ARG002 -- the same for every image
        """3."""
        return UNUSUAL


class Nats:
    """Scores of POT saliency: unusual where significant at a false discovery rate of 0.05 within the image."""

    unit = "nats"
    lowest = 0.0
    ceiling = 50.0

    def unusual(self, scores: Tensor) -> Tensor:
        """Significant by the procedure of Benjamini and Hochberg (1995) over the image's filters."""
        adjusted = false_discovery_control(p_values_of(scores).cpu().numpy(), axis=1)
        return from_numpy(adjusted <= FALSE_DISCOVERIES)

    def p_values(self, scores: Tensor) -> Tensor:
        """``exp(-score)``."""
        return p_values_of(scores)

    def limit(self, unusual: int, filters: int) -> float:
        """The line of Benjamini and Hochberg: k filters are significant at p-values up to ``0.05 k / F``.

        >>> round(Nats().limit(unusual=0, filters=1000), 2), round(Nats().limit(unusual=50, filters=1000), 2)
        (9.9, 5.99)
        """
        return math.log(filters / (FALSE_DISCOVERIES * max(unusual, 1)))


SCORE_SCALES: dict[SaliencyMethod, ScoreScale] = {"parameter": StandardDeviations(), "pot": Nats()}
