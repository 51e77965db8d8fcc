"""The pointing game and the overlap of boxes, as metrics of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.metrics.boxes import area_share, iou, require_tolerance
from captum_paramsal.metrics.breakdown import has_small_boxes
from captum_paramsal.metrics.map_boxes import box_of
from captum_paramsal.metrics.metric import Column, Metric
from captum_paramsal.metrics.pointing_game import centre_point, highest_point, pointing_game_at
from captum_paramsal.metrics.scoring_case import Case


@dataclass(frozen=True)
class Pointing(Metric):
    """The pointing game: does the highest point of the map lie on the object; and the same on small objects only.

    Yardsticks are the centre of the image and the chance of a pixel drawn at random.

    Args:
        tolerance: A point no further than this from a box, in pixels, is a hit too.
        small: Boxes that cover less than this share of the image are small.

    Raises:
        InputError: A tolerance below 0, or a share that is none.
    """

    tolerance: float = 0.0
    small: float = 1 / 3

    needs_boxes: ClassVar[bool] = True
    name: ClassVar[str] = "pointing_game"

    def __post_init__(self) -> None:
        require_tolerance(self.tolerance)
        if not 0 < self.small <= 1:
            message = f"Expected `small` to be a share of the image above 0, up to 1, got {self.small}."
            raise InputError(message)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Hits on all images with boxes, and on those where they are small."""
        return (
            Column("pointing game", "hit", "higher", "1 where the highest point of the map lies on the object."),
            Column(
                "pointing game (small boxes)",
                "hit",
                "higher",
                f"The same, only where the boxes cover less than {self.small:.0%} of the image.",
            ),
        )

    def score(self, case: Case) -> dict[str, Tensor]:
        """1 for a hit and 0 for a miss; NaN without boxes."""
        points = highest_point(case.maps)
        return {name: case.judged(hits) for name, hits in self._columns(case, self._hits(case, points)).items()}

    def yardsticks(self, case: Case) -> Mapping[str, dict[str, Tensor]]:
        """The centre of the image; a pixel at random, with its chance to hit."""
        centre = centre_point(case.size).expand(len(case), 2)
        boxes = list(case.known_boxes.values())
        chance = area_share(boxes, case.size, tolerance=self.tolerance) if boxes else torch.zeros(0)
        return {
            "centre pixel": self._columns(case, self._hits(case, centre)),
            "random pixel": self._columns(case, _spread(case, chance)),
        }

    def _hits(self, case: Case, points: Tensor) -> Tensor:
        known = case.known_boxes
        if not known:
            return _spread(case, torch.zeros(0))
        game = pointing_game_at(points[list(known)], list(known.values()), case.size, tolerance=self.tolerance)
        return _spread(case, game.hits)

    def _columns(self, case: Case, hits: Tensor) -> dict[str, Tensor]:
        known = list(case.known_boxes.values())
        small = has_small_boxes(known, case.size, self.small) if known else torch.zeros(0)
        return {"pointing game": hits, "pointing game (small boxes)": hits.where(_spread(case, small) == 1, torch.nan)}


@dataclass(frozen=True)
class BoxOverlap(Metric):
    """Intersection over union of a box around what the map shows strongly with the object's box.

    The yardstick is the box of the whole image.

    Args:
        threshold: Strong is what exceeds this share of the map's maximum.

    Raises:
        InputError: A threshold below 0, or of 1 and more.

    References:
        See :func:`captum_paramsal.metrics.box_of`.
    """

    threshold: float = 0.15

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

    def yardsticks(self, case: Case) -> Mapping[str, dict[str, Tensor]]:
        """The whole image."""
        height, width = case.size
        whole = torch.tensor([[0, 0, width, height]], dtype=torch.float64).expand(len(case), 4)
        return {"whole image": {"iou": _overlap(case, whole)}}


def _overlap(case: Case, boxes: Tensor) -> Tensor:
    known = case.known_boxes
    return _spread(case, iou(boxes[list(known)], list(known.values())) if known else torch.zeros(0))


def _spread(case: Case, values: Tensor) -> Tensor:
    """Numbers of the images with boxes, in the places of all images, ``(N,)`` float64; NaN for the others."""
    spread = torch.full((len(case),), torch.nan, dtype=torch.float64)
    spread[list(case.known_boxes)] = values.double()
    return spread
