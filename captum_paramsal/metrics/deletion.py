"""Deletion and insertion: how soon is the class gone, or seen, when pixels go or come in the order of a map?"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.metrics.image_baselines import BASELINES, require_baseline
from captum_paramsal.metrics.metric import Column, CurveMetric
from captum_paramsal.metrics.pixel_order import areas_under, confidence_along, pixel_counts, pixel_ranks, random_maps
from captum_paramsal.metrics.scoring_case import Case


@dataclass(frozen=True)
class _PixelExchange(CurveMetric):
    """Pixels are exchanged between image and baseline in the order of the map, the highest first."""

    steps: int = 20
    baseline: Literal["blur", "mean"] = "mean"
    seed: int = 0

    axis_label: ClassVar[str] = "share of pixels"

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 1:
            message = f"Expected `steps` to be a whole number of at least 1, got {self.steps!r}."
            raise InputError(message)
        require_baseline(self.baseline)

    @property
    def axis(self) -> Tensor:
        """Shares of pixels that are exchanged, ``(steps + 1,)``."""
        return torch.linspace(0, 1, self.steps + 1, dtype=torch.float64)

    def curves(self, case: Case) -> dict[str, Tensor]:
        """Probability of the target at each share of exchanged pixels, ``(N, steps + 1)``."""
        # A map with NaN has no order; its curve is dropped.
        return {self.name: case.judged(self._along(case, pixel_ranks(case.maps.nan_to_num())))}

    def summary(self, curves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Area under each curve."""
        return {self.name: areas_under(curves[self.name])}

    def baselines(self, case: Case) -> Mapping[str, dict[str, Tensor]]:
        """Pixels in a random order."""
        curves = self._along(case, pixel_ranks(random_maps(case, self.seed)))
        return {"random order": self.summary({self.name: curves})}

    def _along(self, case: Case, ranks: Tensor) -> Tensor:
        images = case.batch.inputs[0]
        before, after = self._ends(images, BASELINES[self.baseline](images))
        return confidence_along(case, ranks, before, after, pixel_counts(case.size, self.steps))

    @abstractmethod
    def _ends(self, images: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor]:
        """What is shown at first and at last."""


@dataclass(frozen=True)
class Deletion(_PixelExchange):
    """Area under the target's probability while the highest pixels of the map go first; a good map loses it soon.

    Channels are summed with their signs; equally high pixels go in reading order. Read it beside the area of a random
    order.

    Args:
        steps: Steps in which the pixels go, equally many in each.
        baseline: What is seen in their place: ``"mean"``, the image's mean colour, or ``"blur"``, the image blurred.
        seed: Of the random order.

    Raises:
        InputError: ``steps`` below 1, or another baseline.

    References:
        Petsiuk, Das, Saenko: *RISE: Randomized Input Sampling for Explanation of Black-box Models*, arXiv 1806.07421,
        section 4.3.
    """

    name: ClassVar[str] = "deletion"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("deletion", "probability", "lower", "Mean probability of the target while the map's pixels go."),
    )

    def _ends(self, images: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor]:
        return images, baseline


@dataclass(frozen=True)
class Insertion(_PixelExchange):
    """Area under the target's probability while the highest pixels of the map come first; a good map wins it soon.

    Args:
        steps: Steps in which the pixels come, equally many in each.
        baseline: What is seen before: ``"blur"``, the image blurred, or ``"mean"``, its mean colour.
        seed: Of the random order.

    Raises:
        InputError: ``steps`` below 1, or another baseline.

    References:
        See :class:`Deletion`.
    """

    baseline: Literal["blur", "mean"] = "blur"

    name: ClassVar[str] = "insertion"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("insertion", "probability", "higher", "Mean probability of the target while the map's pixels come."),
    )

    def _ends(self, images: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor]:
        return baseline, images
