from .filter_profile import FilterProfile as FilterProfile
from .layers import LayerSelection as LayerSelection
from .layers import filter_index as filter_index
from .layers import select_layers as select_layers
