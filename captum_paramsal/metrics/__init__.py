"""Does a map show where the object is, and what the model looks at? Measures for any method's maps and boxes."""

from captum_paramsal.metrics.boxes import Boxes, area_share, boxes_per_image, covered, iou
from captum_paramsal.metrics.breakdown import has_small_boxes, misses_centre
from captum_paramsal.metrics.increase_in_confidence import ConfidenceChange, increase_in_confidence
from captum_paramsal.metrics.map_boxes import box_of
from captum_paramsal.metrics.pointing_game import (
    PointingGame,
    centre_point,
    highest_point,
    pointing_game,
    pointing_game_at,
)
from captum_paramsal.metrics.shares import share_interval

__all__ = [
    "Boxes",
    "ConfidenceChange",
    "PointingGame",
    "area_share",
    "box_of",
    "boxes_per_image",
    "centre_point",
    "covered",
    "has_small_boxes",
    "highest_point",
    "increase_in_confidence",
    "iou",
    "misses_centre",
    "pointing_game",
    "pointing_game_at",
    "share_interval",
]
