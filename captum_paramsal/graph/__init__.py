"""What the traced network (``torch.fx``) tells of a model's structure, and the way back through it."""

from captum_paramsal.graph import rules
from captum_paramsal.graph.capture import capture
from captum_paramsal.graph.channel_outputs import has_channel_outputs
from captum_paramsal.graph.class_scores import class_score_layers
from captum_paramsal.graph.edited_run import ChannelEdit, EditedRun, NotSharedError
from captum_paramsal.graph.following import Following, TraceWeights
from captum_paramsal.graph.last_maps import last_maps, modules_at
from captum_paramsal.graph.network import Interpreter, Network, Run
from captum_paramsal.graph.norms import batch_norms_behind
from captum_paramsal.graph.rest import Beside, Rest
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step
from captum_paramsal.graph.trace_rules import Passing, TraceRule, registered_operations, trace_rule
from captum_paramsal.graph.tracing import Selected, trace_back

__all__ = [
    "Beside",
    "ChannelEdit",
    "EditedRun",
    "Following",
    "Interpreter",
    "Network",
    "NotSharedError",
    "Passing",
    "Rest",
    "Run",
    "Selected",
    "Sites",
    "Step",
    "TraceRule",
    "TraceWeights",
    "batch_norms_behind",
    "capture",
    "class_score_layers",
    "has_channel_outputs",
    "last_maps",
    "modules_at",
    "registered_operations",
    "rules",
    "trace_back",
    "trace_rule",
]
