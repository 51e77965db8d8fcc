from .agreement import agreement_plot as agreement_plot
from .bandit import bandit_plot as bandit_plot
from .calibration import (
    calibration_plot as calibration_plot,
    share_plot as share_plot,
    shares_per_image as shares_per_image,
    tail_levels as tail_levels,
    tail_shares as tail_shares,
)
from .class_channels import channel_order as channel_order, class_channel_plot as class_channel_plot
from .comparison_grid import comparison_grid as comparison_grid
from .confusion import confused_classes as confused_classes, confusion_plot as confusion_plot
from .distributions import score_distribution_plot as score_distribution_plot, stage_plot as stage_plot
from .evidence import evidence_overlay as evidence_overlay, evidence_plot as evidence_plot
from .exemplar_grid import exemplar_grid as exemplar_grid
from .interventions import intervention_plot as intervention_plot
from .metric_bars import metric_bars as metric_bars, metric_panels as metric_panels
from .neighbor_grid import neighbor_grid as neighbor_grid
from .neurons import neurons_plot as neurons_plot
from .outlines import outline as outline
from .paths import path_plot as path_plot
from .pixels import (
    decoded as decoded,
    display_map as display_map,
    pixel_overlay as pixel_overlay,
    pixel_plot as pixel_plot,
)
from .profiles import profile_plot as profile_plot
from .signed_maps import (
    SCALE_WORDS as SCALE_WORDS,
    MapScale as MapScale,
    map_scales as map_scales,
    presentable as presentable,
    require_scale as require_scale,
    signed_overlay as signed_overlay,
)
from .style import (
    INK as INK,
    PALETTE as PALETTE,
    new_axes as new_axes,
    new_panels as new_panels,
    to_png as to_png,
    to_svg as to_svg,
)
from .tails import (
    mean_excess_plot as mean_excess_plot,
    mean_excesses as mean_excesses,
    qq_plot as qq_plot,
    qq_points as qq_points,
    threshold_stability_plot as threshold_stability_plot,
)
from .traces import trace_plot as trace_plot
from .treatment import treatment_plot as treatment_plot
from .triage import triage_plot as triage_plot
