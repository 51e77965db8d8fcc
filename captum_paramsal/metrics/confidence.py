"""The increase in confidence, as a metric of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from captum_paramsal.metrics.increase_in_confidence import increase_in_confidence
from captum_paramsal.metrics.map_boxes import box_of
from captum_paramsal.metrics.metric import Column, Metric
from captum_paramsal.metrics.scoring_case import Case


@dataclass(frozen=True)
class IncreaseInConfidence(Metric):
    """Is the model surer of the target when all outside the map's box is occluded; and how large is the box?

    A large box is rewarded, so the area stands beside it. Where the objects' boxes are known, they are the yardstick.

    Args:
        threshold: The box surrounds what exceeds this share of the map's maximum.
        baseline: What the occluded part shows, in units of the inputs; 0 is the mean colour of normalized ones.

    Raises:
        InputError: A threshold below 0, or of 1 and more.

    References:
        See :func:`captum_paramsal.metrics.increase_in_confidence`.
    """

    threshold: float = 0.15
    baseline: float = 0.0

    name: ClassVar[str] = "increase_in_confidence"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("increase in confidence", "hit", "higher", "1 where the model is surer with only the map's box left."),
        Column("confidence drop", "share", "lower", "Confidence that is lost then; NaN for a map without a box."),
        Column("box area", "share of the image", "", "Area of the map's box."),
    )

    def __post_init__(self) -> None:
        box_of(torch.zeros(1, 1, 1), self.threshold)

    def score(self, case: Case) -> dict[str, Tensor]:
        """Increase, loss and area of each map's box; a map without positive values has none: 0, NaN and 0."""
        return {name: case.judged(values) for name, values in self._of(case, box_of(case.maps, self.threshold)).items()}

    def yardsticks(self, case: Case) -> Mapping[str, dict[str, Tensor]]:
        """The object's own box, the largest of several."""
        if case.boxes is None:
            return {}
        truth = torch.full((len(case), 4), torch.nan, dtype=torch.float64)
        for place, boxes in case.known_boxes.items():
            truth[place] = boxes[(boxes[:, 2:] - boxes[:, :2]).prod(dim=1).argmax()]
        unknown = truth.isnan().any(dim=1)
        found = {name: values.double().where(~unknown, torch.nan) for name, values in self._of(case, truth).items()}
        return {"object's box": found}

    def _of(self, case: Case, boxes: Tensor) -> dict[str, Tensor]:
        change = increase_in_confidence(
            case.model,
            case.images,
            boxes,
            case.targets,
            case.additional_forward_args,
            baseline=self.baseline,
            internal_batch_size=case.max_examples_per_batch,
        )
        return {
            "increase in confidence": change.increased,
            "confidence drop": change.drop,
            "box area": change.area_share,
        }
