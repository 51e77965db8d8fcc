"""Interventions on filters, treating a classifier, and the difference that it makes as a file."""

from captum_paramsal.repair.constraints import Constraints, channel_constraint, space_constraint
from captum_paramsal.repair.curves import Bystanders, fine_tune_curve, knock_out_curve, perturb_curve
from captum_paramsal.repair.editing import fine_tune_step, knock_out, perturb
from captum_paramsal.repair.foreground import foreground
from captum_paramsal.repair.intervention_curve import InterventionCurve
from captum_paramsal.repair.masked_pixels import MaskedPixels, mask_pixels
from captum_paramsal.repair.neighbors import Neighbors, neighbors
from captum_paramsal.repair.other_mistakes import CuredOthers, cure_others
from captum_paramsal.repair.patch import Change, Patch
from captum_paramsal.repair.rankings import channel_scores, magnitude_ranking, only_layers, random_ranking, ties_by
from captum_paramsal.repair.tally import Tally
from captum_paramsal.repair.treat import treat
from captum_paramsal.repair.treatment import Treatment

__all__ = [
    "Bystanders",
    "Change",
    "Constraints",
    "CuredOthers",
    "InterventionCurve",
    "MaskedPixels",
    "Neighbors",
    "Patch",
    "Tally",
    "Treatment",
    "channel_constraint",
    "channel_scores",
    "cure_others",
    "fine_tune_curve",
    "fine_tune_step",
    "foreground",
    "knock_out",
    "knock_out_curve",
    "magnitude_ranking",
    "mask_pixels",
    "neighbors",
    "only_layers",
    "perturb",
    "perturb_curve",
    "random_ranking",
    "space_constraint",
    "ties_by",
    "treat",
]
