from .capture import capture as capture
from .channel_outputs import has_channel_outputs as has_channel_outputs
from .class_scores import class_score_layers as class_score_layers
from .edited_run import ChannelEdit as ChannelEdit
from .edited_run import EditedRun as EditedRun
from .edited_run import NotSharedError as NotSharedError
from .last_feature_maps import last_maps as last_maps
from .last_feature_maps import modules_at as modules_at
from .network import Interpreter as Interpreter
from .network import Network as Network
from .network import Run as Run
from .norms import batch_norms_behind as batch_norms_behind
from .rule import (
    Passing as Passing,
)
from .rule import (
    TraceRule as TraceRule,
)
from .rule import (
    registered_operations as registered_operations,
)
from .rule import (
    trace_rule as trace_rule,
)
from .settings import TraceSettings as TraceSettings
from .settings import TraceWeights as TraceWeights
from .sites import Sites as Sites
from .step import Step as Step
from .tail_network import SideInputs as SideInputs
from .tail_network import TailNetwork as TailNetwork
from .trace_back import Selected as Selected
from .trace_back import trace_back as trace_back
