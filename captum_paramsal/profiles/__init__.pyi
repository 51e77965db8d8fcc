from .ablated_margins import ablated_margins as ablated_margins
from .filter_parameters import (
    FilterParameters as FilterParameters,
    ParameterSlice as ParameterSlice,
    restored as restored,
    write as write,
)
from .filter_profile import FilterProfile as FilterProfile
from .layers import LayerSelection as LayerSelection, filter_index as filter_index, select_layers as select_layers
from .losses import losses_of as losses_of
