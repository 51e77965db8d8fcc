"""The job itself: from labelled images to a report on every mistake, as HTML, JSON and CSV."""

from captum_paramsal.report.calibration import Calibration, Shares
from captum_paramsal.report.explaining import explain
from captum_paramsal.report.explanation import Explanation
from captum_paramsal.report.fitting import fit_reference
from captum_paramsal.report.output import open_folder
from captum_paramsal.report.records import About, Group, Mistake, RankedFilter
from captum_paramsal.report.tail_summary import TailExample, TailSummary

__all__ = [
    "About",
    "Calibration",
    "Explanation",
    "Group",
    "Mistake",
    "RankedFilter",
    "Shares",
    "TailExample",
    "TailSummary",
    "explain",
    "fit_reference",
    "open_folder",
]
