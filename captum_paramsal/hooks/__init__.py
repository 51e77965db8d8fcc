"""The only place that registers hooks or flips flags."""

from captum_paramsal.hooks.calls import LayerCall
from captum_paramsal.hooks.differentiable import DifferentiableRecording
from captum_paramsal.hooks.feature_maps import FeatureMaps, feature_maps, layer_named
from captum_paramsal.hooks.frozen_convolutions import FrozenConvolutions
from captum_paramsal.hooks.gradient_sums import GradientSums, SummingReduction
from captum_paramsal.hooks.gradients import (
    ConvolutionGradients,
    DenseGradients,
    ProductGradients,
    SampleGradients,
)
from captum_paramsal.hooks.layer_rules import CONVOLUTIONS
from captum_paramsal.hooks.plan import FilterLayer, Plan, StalePlanError, plan_recording
from captum_paramsal.hooks.recorder import Recording, Reduction, watching_layers
from captum_paramsal.hooks.replaced import replaced_maps, require_single_call
from captum_paramsal.hooks.rules import FilterRule, has_rule, rule_of, sample_gradients_of, weight_of
from captum_paramsal.hooks.state import scoring_state, unwrap

__all__ = [
    "CONVOLUTIONS",
    "ConvolutionGradients",
    "DenseGradients",
    "DifferentiableRecording",
    "FeatureMaps",
    "FilterLayer",
    "FilterRule",
    "FrozenConvolutions",
    "GradientSums",
    "LayerCall",
    "Plan",
    "ProductGradients",
    "Recording",
    "Reduction",
    "SampleGradients",
    "StalePlanError",
    "SummingReduction",
    "feature_maps",
    "has_rule",
    "layer_named",
    "plan_recording",
    "replaced_maps",
    "require_single_call",
    "rule_of",
    "sample_gradients_of",
    "scoring_state",
    "unwrap",
    "watching_layers",
    "weight_of",
]
