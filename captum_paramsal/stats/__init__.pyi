from .bandit import BanditRun as BanditRun, upper_confidence_bound as upper_confidence_bound
from .bootstrap import (
    bootstrap_difference as bootstrap_difference,
    bootstrap_mean as bootstrap_mean,
    bootstrap_means as bootstrap_means,
    resampled_means as resampled_means,
    table_of_means as table_of_means,
)
from .median import median as median
from .moments import Moments as Moments
from .paired_answers import mcnemar as mcnemar
from .pareto import (
    MINIMUM_EXCESSES as MINIMUM_EXCESSES,
    GeneralizedPareto as GeneralizedPareto,
    TailMethod as TailMethod,
)
from .peaks import Peaks as Peaks, PeakStream as PeakStream, require_kept as require_kept
from .rank_fusion import reciprocal_rank_fusion as reciprocal_rank_fusion
from .stratified_ranks import StratifiedRanks as StratifiedRanks, stratified_ranks as stratified_ranks
from .tails import (
    FilterTails as FilterTails,
    ThresholdStability as ThresholdStability,
    threshold_stability as threshold_stability,
)
from .upper_tail import TailStream as TailStream, UpperTail as UpperTail, require_fraction as require_fraction
