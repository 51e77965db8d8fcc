"""Methods side by side: the same images, the same metrics, one table."""

from captum_paramsal.comparison.comparing import compare
from captum_paramsal.comparison.for_quantus import quantus_explanation
from captum_paramsal.comparison.presets import PRESETS, Preset, preset
from captum_paramsal.comparison.result import Comparison, Failure
from captum_paramsal.comparison.statistics import PairedDifference, bootstrap_mean, paired_differences

__all__ = [
    "PRESETS",
    "Comparison",
    "Failure",
    "PairedDifference",
    "Preset",
    "bootstrap_mean",
    "compare",
    "paired_differences",
    "preset",
    "quantus_explanation",
]
