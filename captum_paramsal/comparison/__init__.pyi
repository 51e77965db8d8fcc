from .comparing import compare as compare
from .for_quantus import quantus_explanation as quantus_explanation
from .presets import PRESETS as PRESETS, Preset as Preset, preset as preset, register_preset as register_preset
from .ranks import MeasureAgreement as MeasureAgreement, MeasureRanks as MeasureRanks, RankedMethod as RankedMethod
from .result import Comparison as Comparison, Failure as Failure
from .statistics import (
    PairedDifference as PairedDifference,
    paired_differences as paired_differences,
)
from .trust import TrustSummary as TrustSummary
