"""ROAD: is the class gone when a map's pixels are, and what is left does not show that anything is missing?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.metrics.imputation import imputed
from captum_paramsal.metrics.metric import Column, CurveMetric
from captum_paramsal.metrics.perturbations import image_generators
from captum_paramsal.metrics.pixel_order import curves_of, is_predicted, pixel_ranks, probability, random_maps
from captum_paramsal.metrics.scoring_case import Case

_BOTH, _MOST, _LEAST = "ROAD", "ROAD (most relevant first)", "ROAD (least relevant first)"


@dataclass(frozen=True)
class ROAD(CurveMetric):
    """Remove and debias: what is left of the class when the highest pixels are removed, and when the lowest are.

    A removed pixel becomes the weighted mean of its neighbours, see :func:`imputed`, and a little noise: the shape of a
    hole tells the model hardly anything. The paper draws two curves over the share of removed pixels; here each is
    averaged, and half of the difference of the two averages is the score of a map, as in pytorch-grad-cam. Channels are
    summed with their signs; equally high pixels go in reading order. All methods see the same noise.

    Args:
        shares: Shares of the pixels that are removed, each above 0 and below 1; whole pixels, rounded down.
        noise: Standard deviation of the noise, in units of the inputs.
        of: What is left: ``"probability"`` of the target, or ``"accuracy"``, as in the paper: 1 where the target is
            what the model still predicts.
        seed: Of the noise and of the random order.

    Raises:
        InputError: No share or one out of range, ``noise`` below 0, or another ``of``.

    References:
        Rong, Leemann, Borisov, Kasneci, Kasneci: *A Consistent and Efficient Evaluation Strategy for Attribution
        Methods*, ICML 2022, arXiv 2202.00449.
    """

    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    noise: float = 0.01
    of: Literal["probability", "accuracy"] = "probability"
    seed: int = 0

    name: ClassVar[str] = "road"
    axis_label: ClassVar[str] = "share of pixels"

    def __post_init__(self) -> None:
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            message = f"Expected `shares` of the pixels, each above 0 and below 1, got {self.shares!r}."
            raise InputError(message)
        if not self.noise >= 0:
            message = f"Expected `noise` of at least 0, in units of the inputs, got {self.noise!r}."
            raise InputError(message)
        if self.of not in ("probability", "accuracy"):
            message = f"Expected `of` to be 'probability' or 'accuracy', got {self.of!r}."
            raise InputError(message)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Half of the difference, and what it is the difference of."""
        unit = "probability" if self.of == "probability" else "share of pictures"
        what = "Mean probability of the target" if self.of == "probability" else "How often the target is predicted"
        return (
            Column(
                _BOTH, unit, "higher", "Half of what the least relevant pixels leave of the target beyond the most."
            ),
            Column(_MOST, unit, "lower", f"{what} while the map's highest pixels are removed."),
            Column(_LEAST, unit, "higher", f"{what} while the map's lowest pixels are removed."),
        )

    @property
    def axis(self) -> Tensor:
        """Shares of pixels that are removed, ``(S,)``."""
        return torch.tensor(self.shares, dtype=torch.float64)

    def curves(self, case: Case) -> dict[str, Tensor]:
        """What is left of the target at each share, ``(N, S)``."""
        # A map with NaN has no order; its curves are dropped.
        found = self._along(case, pixel_ranks(case.maps.nan_to_num()))
        return {name: case.judged(values) for name, values in found.items()}

    def summary(self, curves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean of each curve."""
        return {name: values.mean(dim=1) for name, values in curves.items()}

    def baselines(self, case: Case) -> Mapping[str, dict[str, Tensor]]:
        """Pixels in a random order."""
        return {"random order": self.summary(self._along(case, pixel_ranks(random_maps(case, self.seed))))}

    def _along(self, case: Case, ranks: Tensor) -> dict[str, Tensor]:
        images, noise = case.batch.inputs[0], self._noise(case)
        pixels = ranks[0].numel()
        # A product such as 100 * 0.29 is a little below the whole number that it stands for.
        counts = [int(share * pixels + 1e-9) for share in self.shares]

        def pictures(image: Tensor, point: Tensor) -> Tensor:
            shown = []
            for number, place in zip(image.tolist(), point.tolist(), strict=True):
                first, count = place < len(counts), counts[place % len(counts)]
                removed = ranks[number] < count if first else ranks[number] >= pixels - count
                filled = imputed(images[number], removed)
                shown.append(filled + noise[number] * removed.to(filled))
            return torch.stack(shown)

        read = probability if self.of == "probability" else is_predicted
        most, least = curves_of(case, 2 * len(counts), pictures, read).split(len(counts), dim=1)
        return {_BOTH: (least - most) / 2, _MOST: most, _LEAST: least}

    def _noise(self, case: Case) -> Tensor:
        """What is added to each pixel if it is removed, ``(N, C, H, W)``."""
        images = case.batch.inputs[0]
        drawn = image_generators(case.images, self.seed, range(1))
        noise = [torch.randn(images.shape[1:], generator=next(generators)) for generators in drawn]
        return self.noise * torch.stack(noise).to(images)
