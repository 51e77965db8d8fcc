from .doubts import Doubts as Doubts, label_doubts as label_doubts, prediction_doubts as prediction_doubts
from .grouping import (
    group_by_similarity as group_by_similarity,
    nearest_by_similarity as nearest_by_similarity,
)
from .result import ConfusionPair as ConfusionPair, GuiltyFilter as GuiltyFilter, Triage as Triage
from .set_saliency import SetSaliency as SetSaliency, pull as pull, set_saliency as set_saliency
from .set_scores import SetScores as SetScores
from .suspects import Suspects as Suspects, rank_suspects as rank_suspects
from .triage import triage as triage
