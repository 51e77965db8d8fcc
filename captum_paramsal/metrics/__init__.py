"""Does a map show where the object is, and what the model looks at? Measures for any method's maps and boxes."""

from captum_paramsal.metrics.boxes import Boxes, area_share, boxes_per_image, covered, iou
from captum_paramsal.metrics.breakdown import has_small_boxes, misses_centre
from captum_paramsal.metrics.confidence import IncreaseInConfidence
from captum_paramsal.metrics.deletion import Deletion, Insertion
from captum_paramsal.metrics.increase_in_confidence import ConfidenceChange, increase_in_confidence
from captum_paramsal.metrics.infidelity import Infidelity
from captum_paramsal.metrics.input_maps import InputMaps
from captum_paramsal.metrics.map_boxes import box_of
from captum_paramsal.metrics.maps import per_pixel
from captum_paramsal.metrics.metric import Column, CurveMetric, Metric
from captum_paramsal.metrics.model_randomisation import ModelRandomisation
from captum_paramsal.metrics.perturbations import GaussianNoise, SquareRemoval, UniformNoise
from captum_paramsal.metrics.pointing import BoxOverlap, Pointing
from captum_paramsal.metrics.pointing_game import (
    PointingGame,
    centre_point,
    highest_point,
    pointing_game,
    pointing_game_at,
)
from captum_paramsal.metrics.registry import METRICS, metric_named
from captum_paramsal.metrics.scoring_case import Case
from captum_paramsal.metrics.sensitivity import Sensitivity
from captum_paramsal.metrics.shared_passes import SharedPasses
from captum_paramsal.metrics.shares import share_interval
from captum_paramsal.metrics.sparsity import Sparsity, gini_index

__all__ = [
    "METRICS",
    "BoxOverlap",
    "Boxes",
    "Case",
    "Column",
    "ConfidenceChange",
    "CurveMetric",
    "Deletion",
    "GaussianNoise",
    "IncreaseInConfidence",
    "Infidelity",
    "InputMaps",
    "Insertion",
    "Metric",
    "ModelRandomisation",
    "Pointing",
    "PointingGame",
    "Sensitivity",
    "SharedPasses",
    "Sparsity",
    "SquareRemoval",
    "UniformNoise",
    "area_share",
    "box_of",
    "boxes_per_image",
    "centre_point",
    "covered",
    "gini_index",
    "has_small_boxes",
    "highest_point",
    "increase_in_confidence",
    "iou",
    "metric_named",
    "misses_centre",
    "per_pixel",
    "pointing_game",
    "pointing_game_at",
    "share_interval",
]
