from .trace import Neurons as Neurons
from .trace import Points as Points
from .trace import Trace as Trace
from .weight_search import WeightSearch as WeightSearch
