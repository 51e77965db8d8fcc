"""Every equation once: tensors in, tensors out; no modules, no hooks, no files."""

from captum_paramsal.functional.class_channels import (
    Noise,
    channel_correlation,
    disturbances,
    jaccard,
    jaccard_by_chance,
    normalized_per_class,
    relevant_channels,
)
from captum_paramsal.functional.constraints import (
    Reduce,
    channel_penalty,
    evidence_of,
    foreground_at,
    space_penalty,
    strongest_wrong_class,
)
from captum_paramsal.functional.gradient_coherence import coherence
from captum_paramsal.functional.graph import usable
from captum_paramsal.functional.losses import Loss, cross_entropy
from captum_paramsal.functional.products import fused_products, mean_abs_product
from captum_paramsal.functional.profile import boosted_similarity, mean_abs, profile_curve, standardize
from captum_paramsal.functional.tails import (
    anderson_darling,
    p_values_of,
    pareto_log_density,
    pareto_log_survival,
    tail_scores,
)
from captum_paramsal.functional.targets import Target, labels_of, scores_at

__all__ = [
    "Loss",
    "Noise",
    "Reduce",
    "Target",
    "anderson_darling",
    "boosted_similarity",
    "channel_correlation",
    "channel_penalty",
    "coherence",
    "cross_entropy",
    "disturbances",
    "evidence_of",
    "foreground_at",
    "fused_products",
    "jaccard",
    "jaccard_by_chance",
    "labels_of",
    "mean_abs",
    "mean_abs_product",
    "normalized_per_class",
    "p_values_of",
    "pareto_log_density",
    "pareto_log_survival",
    "profile_curve",
    "relevant_channels",
    "scores_at",
    "space_penalty",
    "standardize",
    "strongest_wrong_class",
    "tail_scores",
    "usable",
]
