"""The job itself: from labelled images to a report on every mistake, as HTML, JSON and CSV."""

import lazy_loader as lazy

from captum_paramsal.versions import renamed

_load, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
_RENAMED = {
    "Checkup": "DoctorReport",
    "Group": "ImageGroup",
    "SideBySide": "ComparisonReport",
    "SortedMistakes": "TriageReport",
    "Therapy": "TreatmentSettings",
    "compare_on": "compare",
    "examine": "doctor",
    "open_folder": "captum_paramsal.files.open_folder",
    "triage_on": "triage",
}
__getattr__ = renamed(__name__, _load, _RENAMED)
