from .bandit import BanditRun as BanditRun
from .bandit import upper_confidence_bound as upper_confidence_bound
from .bootstrap import (
    bootstrap_mean as bootstrap_mean,
)
from .bootstrap import (
    bootstrap_means as bootstrap_means,
)
from .moments import Moments as Moments
from .pareto import (
    MINIMUM_EXCESSES as MINIMUM_EXCESSES,
)
from .pareto import (
    GeneralizedPareto as GeneralizedPareto,
)
from .pareto import (
    TailMethod as TailMethod,
)
from .rank_fusion import reciprocal_rank_fusion as reciprocal_rank_fusion
from .stratified_ranks import StratifiedRanks as StratifiedRanks
from .stratified_ranks import stratified_ranks as stratified_ranks
from .tails import (
    FilterTails as FilterTails,
)
from .tails import (
    ThresholdStability as ThresholdStability,
)
from .tails import (
    threshold_stability as threshold_stability,
)
from .upper_tail import TailStream as TailStream
from .upper_tail import UpperTail as UpperTail
from .upper_tail import require_fraction as require_fraction
