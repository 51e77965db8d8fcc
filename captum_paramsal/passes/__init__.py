"""One pass over a data set: resumable, and spread over the processes of a group."""

from captum_paramsal.passes.group import Group
from captum_paramsal.passes.reference_pass import ReferencePass
from captum_paramsal.passes.statistics import Statistics

__all__ = ["Group", "ReferencePass", "Statistics"]
