from .comparing import compare as compare
from .for_quantus import quantus_explanation as quantus_explanation
from .presets import PRESETS as PRESETS
from .presets import Preset as Preset
from .presets import preset as preset
from .presets import register_preset as register_preset
from .result import Comparison as Comparison
from .result import Failure as Failure
from .statistics import (
    PairedDifference as PairedDifference,
)
from .statistics import (
    paired_differences as paired_differences,
)
