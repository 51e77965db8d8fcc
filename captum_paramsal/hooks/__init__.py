"""The only place that registers hooks or flips flags."""

from captum_paramsal.hooks.calls import LayerCall
from captum_paramsal.hooks.gradients import (
    ConvolutionGradients,
    DenseGradients,
    ProductGradients,
    SampleGradients,
)
from captum_paramsal.hooks.layer_rules import CONVOLUTIONS
from captum_paramsal.hooks.plan import FilterLayer, Plan, plan_recording
from captum_paramsal.hooks.recorder import StalePlanError, record_profiles
from captum_paramsal.hooks.rules import FilterRule, has_rule, rule_of, sample_gradients_of, weight_of
from captum_paramsal.hooks.state import scoring_state, unwrap

__all__ = [
    "CONVOLUTIONS",
    "ConvolutionGradients",
    "DenseGradients",
    "FilterLayer",
    "FilterRule",
    "LayerCall",
    "Plan",
    "ProductGradients",
    "SampleGradients",
    "StalePlanError",
    "has_rule",
    "plan_recording",
    "record_profiles",
    "rule_of",
    "sample_gradients_of",
    "scoring_state",
    "unwrap",
    "weight_of",
]
