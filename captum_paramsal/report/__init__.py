"""The job itself: from labelled images to a report on every mistake, as HTML, JSON and CSV."""

from captum_paramsal.report.calibration import Calibration, Shares
from captum_paramsal.report.checkup import Checkup
from captum_paramsal.report.comparing import ComparisonSettings, compare_on
from captum_paramsal.report.doctor_records import ChannelFinding, DiagnosedGroup, DiagnosedMistake
from captum_paramsal.report.doctor_settings import DoctorSettings
from captum_paramsal.report.doctoring import examine
from captum_paramsal.report.explaining import explain
from captum_paramsal.report.explanation import Explanation
from captum_paramsal.report.fitting import fit_reference
from captum_paramsal.report.output import open_folder
from captum_paramsal.report.records import About, Group, Mistake, RankedFilter
from captum_paramsal.report.side_by_side import SideBySide
from captum_paramsal.report.sorted_mistakes import SortedMistakes
from captum_paramsal.report.tail_summary import TailExample, TailSummary
from captum_paramsal.report.therapy import Therapy
from captum_paramsal.report.treatment_records import TreatmentResult
from captum_paramsal.report.triaging import TriageSettings, triage_on

__all__ = [
    "About",
    "Calibration",
    "ChannelFinding",
    "Checkup",
    "ComparisonSettings",
    "DiagnosedGroup",
    "DiagnosedMistake",
    "DoctorSettings",
    "Explanation",
    "Group",
    "Mistake",
    "RankedFilter",
    "Shares",
    "SideBySide",
    "SortedMistakes",
    "TailExample",
    "TailSummary",
    "Therapy",
    "TreatmentResult",
    "TriageSettings",
    "compare_on",
    "examine",
    "explain",
    "fit_reference",
    "open_folder",
    "triage_on",
]
