from .box_overlap import BoxOverlap as BoxOverlap
from .boxes import (
    Boxes as Boxes,
    area_share as area_share,
    boxes_per_image as boxes_per_image,
    covered as covered,
    has_small_boxes as has_small_boxes,
    iou as iou,
)
from .deletion import Deletion as Deletion, Insertion as Insertion
from .imputation import imputed as imputed
from .increase_in_confidence import (
    ConfidenceChange as ConfidenceChange,
    IncreaseInConfidence as IncreaseInConfidence,
    increase_in_confidence as increase_in_confidence,
)
from .infidelity import Infidelity as Infidelity
from .input_maps import InputMaps as InputMaps
from .irof import IROF as IROF
from .map_boxes import box_of as box_of
from .maps import per_pixel as per_pixel
from .metric import Column as Column, CurveMetric as CurveMetric, Metric as Metric
from .model_randomisation import ModelRandomisation as ModelRandomisation
from .perturbations import GaussianNoise as GaussianNoise, SquareRemoval as SquareRemoval, UniformNoise as UniformNoise
from .pointing_game import (
    Pointing as Pointing,
    PointingHits as PointingHits,
    centre_point as centre_point,
    highest_point as highest_point,
    misses_centre as misses_centre,
    pointing_game as pointing_game,
    pointing_game_at as pointing_game_at,
)
from .registry import METRICS as METRICS, metric_named as metric_named, register_metric as register_metric
from .road import ROAD as ROAD
from .scoring_case import Case as Case
from .segments import segments_of as segments_of
from .sensitivity import Sensitivity as Sensitivity
from .shared_passes import SharedPasses as SharedPasses
from .shares import share_interval as share_interval
from .sparsity import Sparsity as Sparsity, gini_index as gini_index
