"""Every equation once: tensors in, tensors out; no modules, no hooks, no files."""

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
    "Target",
    "anderson_darling",
    "boosted_similarity",
    "cross_entropy",
    "fused_products",
    "labels_of",
    "mean_abs",
    "mean_abs_product",
    "p_values_of",
    "pareto_log_density",
    "pareto_log_survival",
    "profile_curve",
    "scores_at",
    "standardize",
    "tail_scores",
    "usable",
]
