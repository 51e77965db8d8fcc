from .restriction import Restriction as Restriction, runs_of as runs_of
from .through import Through as Through, filters_of as filters_of, neurons_of as neurons_of
from .trace import Neurons as Neurons, Points as Points, Trace as Trace
from .weight_search import WeightSearch as WeightSearch
