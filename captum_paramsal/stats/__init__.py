"""Statistics that are taken in one pass and merged exactly, and the tails that are fitted to them."""

from captum_paramsal.stats.bandit import BanditRun, upper_confidence_bound
from captum_paramsal.stats.moments import Moments
from captum_paramsal.stats.pareto import MINIMUM_EXCESSES, GeneralizedPareto, TailMethod
from captum_paramsal.stats.rank_fusion import reciprocal_rank_fusion
from captum_paramsal.stats.stratified_ranks import StratifiedRanks, stratified_ranks
from captum_paramsal.stats.tails import FilterTails, ThresholdStability, threshold_stability
from captum_paramsal.stats.upper_tail import TailStream, UpperTail, require_fraction

__all__ = [
    "MINIMUM_EXCESSES",
    "BanditRun",
    "FilterTails",
    "GeneralizedPareto",
    "Moments",
    "StratifiedRanks",
    "TailMethod",
    "TailStream",
    "ThresholdStability",
    "UpperTail",
    "reciprocal_rank_fusion",
    "require_fraction",
    "stratified_ranks",
    "threshold_stability",
    "upper_confidence_bound",
]
