"""How far a box around what a map shows strongly overlaps with the object's box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from captum_paramsal.metrics.boxes import iou
from captum_paramsal.metrics.map_boxes import box_of
from captum_paramsal.metrics.metric import Column, Metric
from captum_paramsal.metrics.scoring_case import Case


@dataclass(frozen=True)
class BoxOverlap(Metric):
    """Intersection over union of a box around what the map shows strongly with the object's box.

    The baseline is the box of the whole image.

    Args:
        threshold: Strong is what exceeds this share of the map's maximum; None for the box of the mass.

    Raises:
        InputError: A threshold below 0, or of 1 and more.

    References:
        See :func:`captum_paramsal.metrics.box_of`.
    """

    threshold: float | None = 0.15

    needs_boxes: ClassVar[bool] = True
    name: ClassVar[str] = "iou"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("iou", "share", "higher", "Intersection over union of the map's box with the object's."),
    )

    def __post_init__(self) -> None:
        box_of(torch.zeros(1, 1, 1), self.threshold)

    def score(self, case: Case) -> dict[str, Tensor]:
        """Overlap with the best of the image's boxes; 0 for a map without positive values, NaN without boxes."""
        return {"iou": case.judged(_overlap(case, box_of(case.maps, self.threshold)))}

    def baselines(self, case: Case) -> Mapping[str, dict[str, Tensor]]:
        """The whole image."""
        height, width = case.size
        whole = torch.tensor([[0, 0, width, height]], dtype=torch.float64).expand(len(case), 4)
        return {"whole image": {"iou": _overlap(case, whole)}}


def _overlap(case: Case, boxes: Tensor) -> Tensor:
    known = case.known_boxes
    return case.at_known_boxes(iou(boxes[list(known)], list(known.values())) if known else torch.zeros(0))
