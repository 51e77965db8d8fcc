"""The job itself: from labelled images to a report on every mistake, as HTML, JSON and CSV."""

from captum_paramsal.report.explaining import explain
from captum_paramsal.report.explanation import Explanation
from captum_paramsal.report.fitting import fit_reference
from captum_paramsal.report.output import open_folder
from captum_paramsal.report.records import About, Group, Mistake, RankedFilter

__all__ = ["About", "Explanation", "Group", "Mistake", "RankedFilter", "explain", "fit_reference", "open_folder"]
