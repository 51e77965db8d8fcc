"""Treating a classifier, and the difference that it makes as a file."""

from captum_paramsal.repair.constraints import Constraints, channel_constraint, space_constraint
from captum_paramsal.repair.foreground import foreground
from captum_paramsal.repair.patch import Change, Patch
from captum_paramsal.repair.tally import Tally
from captum_paramsal.repair.treat import treat
from captum_paramsal.repair.treatment import Treatment

__all__ = [
    "Change",
    "Constraints",
    "Patch",
    "Tally",
    "Treatment",
    "channel_constraint",
    "foreground",
    "space_constraint",
    "treat",
]
