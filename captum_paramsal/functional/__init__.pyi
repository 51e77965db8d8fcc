from .anomalies import peer_deviation as peer_deviation, statistics_drift as statistics_drift
from .attention import (
    attention_relevance as attention_relevance,
    attention_rollout as attention_rollout,
    attention_shares as attention_shares,
)
from .class_activation import (
    ablation_cam as ablation_cam,
    channel_masks as channel_masks,
    finer_cam as finer_cam,
    grad_cam as grad_cam,
    layer_cam as layer_cam,
    nearest_classes as nearest_classes,
    score_cam as score_cam,
)
from .class_channels import (
    Noise as Noise,
    channel_correlation as channel_correlation,
    disturbances as disturbances,
    jaccard as jaccard,
    jaccard_by_chance as jaccard_by_chance,
    normalized_per_class as normalized_per_class,
    relevant_channels as relevant_channels,
)
from .component_effects import (
    ablation_groups as ablation_groups,
    agreement as agreement,
    component_effects as component_effects,
    log_odds as log_odds,
)
from .constraints import (
    channel_penalty as channel_penalty,
    foreground_at as foreground_at,
    space_penalty as space_penalty,
    strongest_wrong_class as strongest_wrong_class,
)
from .decision_margins import decision_margins as decision_margins, soft_right as soft_right
from .evidence import Reduce as Reduce, averaged_evidence as averaged_evidence, evidence_of as evidence_of
from .forward_impact import (
    pareto_fronts as pareto_fronts,
    pareto_score as pareto_score,
    wrong_against_right as wrong_against_right,
)
from .grad_cam_plus_plus import grad_cam_plus_plus as grad_cam_plus_plus
from .gradient_coherence import coherence as coherence
from .losses import Loss as Loss, cross_entropy as cross_entropy, loss_name as loss_name
from .mistake_kinds import (
    KINDS_OF_MISTAKES as KINDS_OF_MISTAKES,
    MISTAKE_VIEWS as MISTAKE_VIEWS,
    KindThresholds as KindThresholds,
    kind_of_mistake as kind_of_mistake,
    strongest_window as strongest_window,
)
from .products import fused_products as fused_products, mean_abs_product as mean_abs_product
from .profile import (
    boosted_similarity as boosted_similarity,
    cosine as cosine,
    mean_abs as mean_abs,
    profile_curve as profile_curve,
    standardize as standardize,
)
from .relevance import relevance_of_part as relevance_of_part
from .similarity import cosines as cosines, nearest as nearest
from .suspiciousness import (
    Suspiciousness as Suspiciousness,
    d_star as d_star,
    ochiai as ochiai,
    tarantula as tarantula,
)
from .tails import (
    anderson_darling as anderson_darling,
    normal_tail_scores as normal_tail_scores,
    p_values_of as p_values_of,
    pareto_log_density as pareto_log_density,
    pareto_log_survival as pareto_log_survival,
    tail_scores as tail_scores,
)
from .targets import (
    Target as Target,
    labels_of as labels_of,
    loss_targets as loss_targets,
    scores_at as scores_at,
    target_of as target_of,
)
from .tensors import detached as detached, tensor_of as tensor_of
from .weight_path import (
    excess_change as excess_change,
    path_shares as path_shares,
    statistics_gradients as statistics_gradients,
    statistics_shift as statistics_shift,
)
