from .attention_heads import (
    attention_heads as attention_heads,
    equal_heads as equal_heads,
    heads_of as heads_of,
    named_heads as named_heads,
)
from .attention_shares import (
    attention_layers as attention_layers,
    watched_attention as watched_attention,
    watched_shares as watched_shares,
)
from .calls import LayerCall as LayerCall
from .channel_means import ChannelMeans as ChannelMeans, channel_means as channel_means
from .computed_weights import computed_once as computed_once
from .differentiable import DifferentiableRecording as DifferentiableRecording
from .feature_maps import FeatureMaps as FeatureMaps, feature_maps as feature_maps, layer_named as layer_named
from .filter_layer import FilterLayer as FilterLayer
from .frozen_layers import FrozenLayers as FrozenLayers
from .gradient_sums import GradientSums as GradientSums, SummingReduction as SummingReduction
from .gradients import (
    ConvolutionGradients as ConvolutionGradients,
    DenseGradients as DenseGradients,
    ProductGradients as ProductGradients,
    SampleGradients as SampleGradients,
)
from .held_inputs import as_tensor as as_tensor, is_one_image as is_one_image, weight_like as weight_like
from .layer_order import (
    LastInputs as LastInputs,
    last_inputs as last_inputs,
    layers_from_the_end as layers_from_the_end,
)
from .layer_rules import CONVOLUTIONS as CONVOLUTIONS
from .layer_watch import watching_layers as watching_layers
from .module_calls import module_calls as module_calls
from .norm_inputs import NormInputs as NormInputs, norm_inputs as norm_inputs
from .output_peaks import (
    ExamplePeaks as ExamplePeaks,
    LayerPeaks as LayerPeaks,
    OutputPeaks as OutputPeaks,
)
from .plan import (
    HiddenCallsError as HiddenCallsError,
    OtherWayError as OtherWayError,
    Plan as Plan,
    StalePlanError as StalePlanError,
    plan_recording as plan_recording,
    takes_batch_statistics as takes_batch_statistics,
)
from .recorder import LayerRecording as LayerRecording, Reduction as Reduction
from .replaced import replaced_maps as replaced_maps, require_single_call as require_single_call
from .rules import (
    FilterRule as FilterRule,
    has_rule as has_rule,
    rule_of as rule_of,
    sample_gradients_of as sample_gradients_of,
    weight_of as weight_of,
)
from .score_channels import class_score_linears as class_score_linears
from .scored_model import (
    Output as Output,
    readout as readout,
    scored_model as scored_model,
    scores_in as scores_in,
    two_class_view as two_class_view,
    unwrap as unwrap,
    whole_model as whole_model,
)
from .scratch_buffers import scratch_buffers as scratch_buffers
from .second_derivatives import (
    SecondDerivatives as SecondDerivatives,
    require_twice_differentiable as require_twice_differentiable,
    twice_differentiable as twice_differentiable,
)
from .state import frozen_eval as frozen_eval, uncompiled as uncompiled
from .synthetic_inputs import FittingLinears as FittingLinears, synthetic_inputs as synthetic_inputs
from .token_layout import tokens_in_one_piece as tokens_in_one_piece
from .unhooked import without_hooks as without_hooks
