from .class_channels import (
    Noise as Noise,
)
from .class_channels import (
    channel_correlation as channel_correlation,
)
from .class_channels import (
    disturbances as disturbances,
)
from .class_channels import (
    jaccard as jaccard,
)
from .class_channels import (
    jaccard_by_chance as jaccard_by_chance,
)
from .class_channels import (
    normalized_per_class as normalized_per_class,
)
from .class_channels import (
    relevant_channels as relevant_channels,
)
from .constraints import (
    channel_penalty as channel_penalty,
)
from .constraints import (
    foreground_at as foreground_at,
)
from .constraints import (
    space_penalty as space_penalty,
)
from .constraints import (
    strongest_wrong_class as strongest_wrong_class,
)
from .evidence import Reduce as Reduce
from .evidence import evidence_of as evidence_of
from .gradient_coherence import coherence as coherence
from .losses import Loss as Loss
from .losses import cross_entropy as cross_entropy
from .products import fused_products as fused_products
from .products import mean_abs_product as mean_abs_product
from .profile import (
    boosted_similarity as boosted_similarity,
)
from .profile import (
    mean_abs as mean_abs,
)
from .profile import (
    profile_curve as profile_curve,
)
from .profile import (
    standardize as standardize,
)
from .tails import (
    anderson_darling as anderson_darling,
)
from .tails import (
    p_values_of as p_values_of,
)
from .tails import (
    pareto_log_density as pareto_log_density,
)
from .tails import (
    pareto_log_survival as pareto_log_survival,
)
from .tails import (
    tail_scores as tail_scores,
)
from .targets import Target as Target
from .targets import labels_of as labels_of
from .targets import scores_at as scores_at
from .tensors import detached as detached
