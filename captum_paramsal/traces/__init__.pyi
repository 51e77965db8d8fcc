from .trace import Neurons as Neurons, Points as Points, Trace as Trace
from .weight_search import WeightSearch as WeightSearch
