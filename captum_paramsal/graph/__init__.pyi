from .channel_outputs import has_channel_outputs as has_channel_outputs
from .class_scores import class_score_layers as class_score_layers
from .edited_run import ChannelEdit as ChannelEdit, EditedRun as EditedRun, NotSharedError as NotSharedError
from .last_feature_maps import last_feature_maps as last_feature_maps, modules_at as modules_at
from .links import Links as Links
from .maps_layout import MapsLayout as MapsLayout, maps_layout as maps_layout, tokens_layout as tokens_layout
from .network import (
    Interpreter as Interpreter,
    Network as Network,
    batch_norms_after as batch_norms_after,
    is_layer as is_layer,
    traced_run as traced_run,
)
from .probing import probed_network as probed_network
from .receptive_field import (
    Region as Region,
    receptive_field as receptive_field,
    receptive_fields as receptive_fields,
)
from .recording import Keeps as Keeps, Recording as Recording, record as record
from .registry import registered_operations as registered_operations, trace_rule as trace_rule
from .relevance_run import RelevanceRun as RelevanceRun, without_relevance as without_relevance
from .rule import Passing as Passing, TraceRule as TraceRule
from .settings import TraceSettings as TraceSettings, TraceWeights as TraceWeights
from .sites import Sites as Sites
from .sizes import SizesSeen as SizesSeen, mark_sizes as mark_sizes
from .step import Run as Run, Step as Step
from .tail_network import SideInputs as SideInputs, TailNetwork as TailNetwork, TailReads as TailReads
from .trace_back import Selected as Selected, trace_back as trace_back
