"""The pointing game: does the highest point of a map lie on the object?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.metrics.boxes import (
    Boxes,
    area_share,
    boxes_per_image,
    distance_to,
    has_small_boxes,
    require_tolerance,
)
from captum_paramsal.metrics.maps import per_pixel
from captum_paramsal.metrics.metric import Column, Metric
from captum_paramsal.metrics.scoring_case import Case
from captum_paramsal.metrics.shares import share_interval, share_of

_NOWHERE = -1


@dataclass(frozen=True, eq=False)
class PointingHits:
    """Which images a method points well at.

    Attributes:
        hits: Whether the point lies on the object, ``(N,)`` bool.
        points: y and x of the point, ``(N, 2)`` int64; -1 and -1 where there is none.
    """

    hits: Tensor
    points: Tensor

    @property
    def degenerate(self) -> Tensor:
        """Images without a point, ``(N,)`` bool; they count as misses."""
        return self.points[:, 0] == _NOWHERE

    @property
    def rate(self) -> float:
        """Share of hits among all images; NaN where there are none."""
        return share_of(self.hits)

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the rate's 95 % interval, see :func:`captum_paramsal.metrics.share_interval`."""
        return share_interval(self.hits)

    def where(self, images: Tensor) -> PointingHits:
        """The game on some of the images: ``(N,)`` bool, or their places."""
        return PointingHits(self.hits[images], self.points[images])

    def to_table(self) -> list[dict[str, Any]]:
        """One row per image: hit, degenerate, y, x."""
        columns = (self.hits.tolist(), self.degenerate.tolist(), *self.points.T.tolist())
        return [dict(zip(("hit", "degenerate", "y", "x"), row, strict=True)) for row in zip(*columns, strict=True)]


def pointing_game(maps: Tensor, boxes: Boxes, *, tolerance: float = 0.0) -> PointingHits:
    """Does the highest point of each map lie in one of the object's boxes?

    Read the rate beside those of the image's centre, ``pointing_game_at(centre_point(size), boxes, size)``, and of a
    pixel drawn at random, ``area_share(boxes, size).mean()``: where objects are large and central both are high.

    Args:
        maps: ``(N, H, W)``, or ``(N, C, H, W)``, whose signed sum over the channels is taken.
        boxes: Ground truth of each image, in the maps' pixels.
        tolerance: A point no further than this from a box, in pixels, is a hit too. Zhang et al. allow 15.

    Raises:
        InputError: Maps of another shape, no ground truth for an image, or boxes that do not lie within it.

    References:
        Zhang, Bargal, Lin, Brandt, Shen, Sclaroff: *Top-down Neural Attention by Excitation Backprop*,
        arXiv 1608.00507.

    >>> maps = torch.zeros(2, 8, 8)
    >>> maps[:, 1, 6] = 1.0
    >>> game = pointing_game(maps, torch.tensor([[5, 0, 8, 3], [0, 0, 5, 8]]))
    >>> game.hits.tolist(), game.rate
    ([True, False], 0.5)
    """
    values = per_pixel(maps)
    return pointing_game_at(highest_point(values), boxes, _size(values), tolerance=tolerance)


def pointing_game_at(points: Tensor, boxes: Boxes, size: tuple[int, int], *, tolerance: float = 0.0) -> PointingHits:
    """The pointing game for points that are known already.

    Args:
        points: y and x of one pixel for each image, ``(N, 2)``, or of the same one in every image, ``(2,)``; -1 and -1
            is no point, a miss.
        boxes: Ground truth of each image.
        size: Height and width of the images in pixels.
        tolerance: See :func:`pointing_game`.

    Raises:
        InputError: Points of another shape or outside the image; or see :func:`pointing_game`.
    """
    truth = boxes_per_image(boxes, len(boxes), size)
    places = _checked(points, len(truth), size)
    require_tolerance(tolerance)
    near = distance_to(truth, places) <= tolerance
    return PointingHits(near & (places[:, 0] != _NOWHERE), places)


def highest_point(maps: Tensor) -> Tensor:
    """Where each map is highest; of equally high pixels the first one in reading order.

    A map that is the same everywhere, all zero for one, or that is not finite everywhere, points nowhere.

    Args:
        maps: ``(N, H, W)``, or ``(N, C, H, W)``, whose signed sum over the channels is taken.

    Returns:
        y and x, ``(N, 2)`` int64; -1 and -1 for a map that points nowhere.

    Raises:
        InputError: Maps of another shape.

    >>> highest_point(torch.tensor([[[0.0, 3.0], [3.0, 1.0]], [[2.0, 2.0], [2.0, 2.0]]]))
    tensor([[ 0,  1],
            [-1, -1]])
    """
    values = per_pixel(maps)
    flat = values.flatten(1)
    pointing = flat.isfinite().all(dim=1) & (flat.amax(dim=1) > flat.amin(dim=1))
    place = flat.argmax(dim=1)
    width = values.shape[2]
    return torch.stack([place // width, place % width], dim=1).where(pointing[:, None], _NOWHERE)


def centre_point(size: tuple[int, int]) -> Tensor:
    """An image's central pixel: y and x, ``(2,)``; of four central ones the lower right.

    >>> centre_point((227, 64))
    tensor([113,  32])
    """
    return torch.tensor([side // 2 for side in size])


def misses_centre(boxes: Boxes, size: tuple[int, int], *, tolerance: float = 0.0) -> Tensor:
    """Images whose centre lies in none of their boxes.

    Args:
        boxes: Ground truth of each image.
        size: Height and width of the images in pixels.
        tolerance: As in the pointing game.

    Returns:
        ``(N,)`` bool.

    Raises:
        InputError: See :func:`captum_paramsal.metrics.pointing_game`.

    >>> misses_centre(torch.tensor([[0, 0, 2, 2], [0, 0, 4, 4]]), (6, 6))
    tensor([ True, False])
    """
    return ~pointing_game_at(centre_point(size), boxes, size, tolerance=tolerance).hits


@dataclass(frozen=True)
class Pointing(Metric):
    """The pointing game: does the highest point of the map lie on the object; and the same on small objects only.

    Baselines are the centre of the image and the chance of a pixel drawn at random.

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

    def baselines(self, case: Case) -> Mapping[str, dict[str, Tensor]]:
        """The centre of the image; a pixel at random, with its chance to hit."""
        centre = centre_point(case.size).expand(len(case), 2)
        boxes = list(case.known_boxes.values())
        chance = area_share(boxes, case.size, tolerance=self.tolerance) if boxes else torch.zeros(0)
        return {
            "centre pixel": self._columns(case, self._hits(case, centre)),
            "random pixel": self._columns(case, case.at_known_boxes(chance)),
        }

    def _hits(self, case: Case, points: Tensor) -> Tensor:
        known = case.known_boxes
        if not known:
            return case.at_known_boxes(torch.zeros(0))
        game = pointing_game_at(points[list(known)], list(known.values()), case.size, tolerance=self.tolerance)
        return case.at_known_boxes(game.hits)

    def _columns(self, case: Case, hits: Tensor) -> dict[str, Tensor]:
        known = list(case.known_boxes.values())
        small = has_small_boxes(known, case.size, self.small) if known else torch.zeros(0)
        return {
            "pointing game": hits,
            "pointing game (small boxes)": hits.where(case.at_known_boxes(small) == 1, torch.nan),
        }


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[1], maps.shape[2]


def _checked(points: Tensor, count: int, size: tuple[int, int]) -> Tensor:
    if points.shape not in ((2,), (count, 2)) or points.is_floating_point():
        message = (
            f"Expected whole numbers y and x for each image, ({count}, 2), or (2,), got {points.dtype} of shape "
            f"{tuple(points.shape)}."
        )
        raise InputError(message)
    places = points.detach().cpu().long().expand(count, 2)
    inside = ((places >= 0) & (places < torch.tensor(size))).all(dim=1) | (places == _NOWHERE).all(dim=1)
    if not inside.all():
        image = int((~inside).nonzero()[0])
        message = (
            f"Expected points (y, x) within the image of {size[0]} x {size[1]} pixels (height x width), got "
            f"{tuple(places[image].tolist())} for image {image}."
        )
        raise InputError(message)
    return places
