from .filter_profile import FilterProfile as FilterProfile
from .layers import LayerSelection as LayerSelection, filter_index as filter_index, select_layers as select_layers
