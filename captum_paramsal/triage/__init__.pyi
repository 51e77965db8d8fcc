from .grouping import group_by_similarity as group_by_similarity
from .result import ConfusionPair as ConfusionPair
from .result import GuiltyFilter as GuiltyFilter
from .result import Triage as Triage
from .set_saliency import SetSaliency as SetSaliency
from .set_saliency import set_saliency as set_saliency
from .triage import triage as triage
