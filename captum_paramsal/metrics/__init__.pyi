from .box_overlap import BoxOverlap as BoxOverlap
from .boxes import (
    Boxes as Boxes,
)
from .boxes import (
    area_share as area_share,
)
from .boxes import (
    boxes_per_image as boxes_per_image,
)
from .boxes import (
    covered as covered,
)
from .boxes import (
    has_small_boxes as has_small_boxes,
)
from .boxes import (
    iou as iou,
)
from .deletion import Deletion as Deletion
from .deletion import Insertion as Insertion
from .increase_in_confidence import (
    ConfidenceChange as ConfidenceChange,
)
from .increase_in_confidence import (
    IncreaseInConfidence as IncreaseInConfidence,
)
from .increase_in_confidence import (
    increase_in_confidence as increase_in_confidence,
)
from .infidelity import Infidelity as Infidelity
from .input_maps import InputMaps as InputMaps
from .map_boxes import box_of as box_of
from .maps import per_pixel as per_pixel
from .metric import Column as Column
from .metric import CurveMetric as CurveMetric
from .metric import Metric as Metric
from .model_randomisation import ModelRandomisation as ModelRandomisation
from .perturbations import GaussianNoise as GaussianNoise
from .perturbations import SquareRemoval as SquareRemoval
from .perturbations import UniformNoise as UniformNoise
from .pointing_game import (
    Pointing as Pointing,
)
from .pointing_game import (
    PointingHits as PointingHits,
)
from .pointing_game import (
    centre_point as centre_point,
)
from .pointing_game import (
    highest_point as highest_point,
)
from .pointing_game import (
    misses_centre as misses_centre,
)
from .pointing_game import (
    pointing_game as pointing_game,
)
from .pointing_game import (
    pointing_game_at as pointing_game_at,
)
from .registry import METRICS as METRICS
from .registry import metric_named as metric_named
from .registry import register_metric as register_metric
from .scoring_case import Case as Case
from .sensitivity import Sensitivity as Sensitivity
from .shared_passes import SharedPasses as SharedPasses
from .shares import share_interval as share_interval
from .sparsity import Sparsity as Sparsity
from .sparsity import gini_index as gini_index
