from .calls import LayerCall as LayerCall
from .differentiable import DifferentiableRecording as DifferentiableRecording
from .feature_maps import FeatureMaps as FeatureMaps
from .feature_maps import feature_maps as feature_maps
from .feature_maps import layer_named as layer_named
from .frozen_convolutions import FrozenConvolutions as FrozenConvolutions
from .gradient_sums import GradientSums as GradientSums
from .gradient_sums import SummingReduction as SummingReduction
from .gradients import (
    ConvolutionGradients as ConvolutionGradients,
)
from .gradients import (
    DenseGradients as DenseGradients,
)
from .gradients import (
    ProductGradients as ProductGradients,
)
from .gradients import (
    SampleGradients as SampleGradients,
)
from .layer_rules import CONVOLUTIONS as CONVOLUTIONS
from .layer_watch import watching_layers as watching_layers
from .plan import (
    FilterLayer as FilterLayer,
)
from .plan import (
    Plan as Plan,
)
from .plan import (
    StalePlanError as StalePlanError,
)
from .plan import (
    plan_recording as plan_recording,
)
from .recorder import Recording as Recording
from .recorder import Reduction as Reduction
from .replaced import replaced_maps as replaced_maps
from .replaced import require_single_call as require_single_call
from .rules import (
    FilterRule as FilterRule,
)
from .rules import (
    has_rule as has_rule,
)
from .rules import (
    rule_of as rule_of,
)
from .rules import (
    sample_gradients_of as sample_gradients_of,
)
from .rules import (
    weight_of as weight_of,
)
from .state import frozen_eval as frozen_eval
from .state import unwrap as unwrap
