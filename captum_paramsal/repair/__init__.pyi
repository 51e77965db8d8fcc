from .interventions.curves import (
    ControlImages as ControlImages,
)
from .interventions.curves import (
    fine_tune_curve as fine_tune_curve,
)
from .interventions.curves import (
    knock_out_curve as knock_out_curve,
)
from .interventions.curves import (
    perturb_curve as perturb_curve,
)
from .interventions.editing import fine_tune_step as fine_tune_step
from .interventions.editing import knock_out as knock_out
from .interventions.editing import perturb as perturb
from .interventions.intervention_curve import InterventionCurve as InterventionCurve
from .interventions.masked_pixels import MaskedPixels as MaskedPixels
from .interventions.masked_pixels import mask_pixels as mask_pixels
from .interventions.neighbors import Neighbors as Neighbors
from .interventions.neighbors import neighbors as neighbors
from .interventions.rankings import (
    channel_scores as channel_scores,
)
from .interventions.rankings import (
    magnitude_ranking as magnitude_ranking,
)
from .interventions.rankings import (
    random_ranking as random_ranking,
)
from .interventions.rankings import (
    restrict_to_layers as restrict_to_layers,
)
from .interventions.rankings import (
    ties_by as ties_by,
)
from .interventions.step_transfer import StepTransfer as StepTransfer
from .interventions.step_transfer import step_transfer as step_transfer
from .treatment.constraints import (
    Constraints as Constraints,
)
from .treatment.constraints import (
    channel_constraint as channel_constraint,
)
from .treatment.constraints import (
    space_constraint as space_constraint,
)
from .treatment.foreground import foreground as foreground
from .treatment.held_out import HeldOutPredictions as HeldOutPredictions
from .treatment.patch import Change as Change
from .treatment.patch import Patch as Patch
from .treatment.treat import treat as treat
from .treatment.treatment import Treatment as Treatment
