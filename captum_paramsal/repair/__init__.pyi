from .cures.attempts import Attempt as Attempt, CureSettings as CureSettings
from .cures.cure import cure as cure
from .cures.group_cures import GroupCures as GroupCures, cure_groups as cure_groups
from .cures.result import Cure as Cure
from .cures.verdict import AcceptanceRule as AcceptanceRule, Verdict as Verdict
from .interventions.curves import (
    ControlImages as ControlImages,
    fine_tune_curve as fine_tune_curve,
    knock_out_curve as knock_out_curve,
    perturb_curve as perturb_curve,
)
from .interventions.editing import fine_tune_step as fine_tune_step, knock_out as knock_out, perturb as perturb
from .interventions.intervention_curve import InterventionCurve as InterventionCurve
from .interventions.masked_pixels import MaskedPixels as MaskedPixels, mask_pixels as mask_pixels
from .interventions.mistake_kinds import MistakeKinds as MistakeKinds, mistake_kinds as mistake_kinds
from .interventions.neighbors import Neighbors as Neighbors, neighbors as neighbors
from .interventions.pasted_pixels import PastedPixels as PastedPixels, paste_pixels as paste_pixels
from .interventions.rankings import (
    channel_scores as channel_scores,
    magnitude_ranking as magnitude_ranking,
    random_ranking as random_ranking,
    restrict_to_layers as restrict_to_layers,
    ties_by as ties_by,
)
from .interventions.step_transfer import StepTransfer as StepTransfer, step_transfer as step_transfer
from .treatment.constraints import (
    Constraints as Constraints,
    channel_constraint as channel_constraint,
    space_constraint as space_constraint,
)
from .treatment.foreground import foreground as foreground
from .treatment.held_out import HeldOutPredictions as HeldOutPredictions
from .treatment.patch import Change as Change, Patch as Patch
from .treatment.patch_stack import PatchStack as PatchStack
from .treatment.treat import treat as treat
from .treatment.treatment import Treatment as Treatment
