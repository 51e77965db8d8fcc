"""Figures from plain tensors, in one style: the only room that knows matplotlib."""

from captum_paramsal.viz.agreement import agreement_plot
from captum_paramsal.viz.bandit import bandit_plot
from captum_paramsal.viz.calibration import calibration_plot, share_plot, shares_per_image, tail_levels, tail_shares
from captum_paramsal.viz.class_channels import channel_order, class_channel_plot
from captum_paramsal.viz.comparison_grid import comparison_grid
from captum_paramsal.viz.confusion import confused_classes, confusion_plot
from captum_paramsal.viz.evidence import evidence_overlay, evidence_plot
from captum_paramsal.viz.interventions import intervention_plot
from captum_paramsal.viz.metric_bars import metric_bars, metric_panels
from captum_paramsal.viz.neurons import neurons_plot
from captum_paramsal.viz.outlines import outline
from captum_paramsal.viz.pixels import decoded, display_map, pixel_overlay, pixel_plot
from captum_paramsal.viz.profiles import profile_plot
from captum_paramsal.viz.signed_maps import presentable, signed_overlay
from captum_paramsal.viz.style import INK, PALETTE, new_axes, to_png, to_svg
from captum_paramsal.viz.tails import (
    mean_excess_plot,
    mean_excesses,
    qq_plot,
    qq_points,
    threshold_stability_plot,
)
from captum_paramsal.viz.traces import trace_plot
from captum_paramsal.viz.treatment import treatment_plot
from captum_paramsal.viz.triage import triage_plot

__all__ = [
    "INK",
    "PALETTE",
    "agreement_plot",
    "bandit_plot",
    "calibration_plot",
    "channel_order",
    "class_channel_plot",
    "comparison_grid",
    "confused_classes",
    "confusion_plot",
    "decoded",
    "display_map",
    "evidence_overlay",
    "evidence_plot",
    "intervention_plot",
    "mean_excess_plot",
    "mean_excesses",
    "metric_bars",
    "metric_panels",
    "neurons_plot",
    "new_axes",
    "outline",
    "pixel_overlay",
    "pixel_plot",
    "presentable",
    "profile_plot",
    "qq_plot",
    "qq_points",
    "share_plot",
    "shares_per_image",
    "signed_overlay",
    "tail_levels",
    "tail_shares",
    "threshold_stability_plot",
    "to_png",
    "to_svg",
    "trace_plot",
    "treatment_plot",
    "triage_plot",
]
