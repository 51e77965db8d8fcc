from .compare.report import ComparisonReport as ComparisonReport
from .compare.run import ComparisonSettings as ComparisonSettings
from .compare.run import compare as compare
from .doctor.data import (
    ChannelFinding as ChannelFinding,
)
from .doctor.data import (
    DiagnosedGroup as DiagnosedGroup,
)
from .doctor.data import (
    DiagnosedMistake as DiagnosedMistake,
)
from .doctor.report import DoctorReport as DoctorReport
from .doctor.run import doctor as doctor
from .doctor.settings import DoctorSettings as DoctorSettings
from .doctor.treating import TreatmentSettings as TreatmentSettings
from .doctor.treatment_records import TreatmentResult as TreatmentResult
from .explain.calibration import Calibration as Calibration
from .explain.calibration import Shares as Shares
from .explain.data import ImageGroup as ImageGroup
from .explain.data import Mistake as Mistake
from .explain.data import RankedFilter as RankedFilter
from .explain.report import Explanation as Explanation
from .explain.run import explain as explain
from .explain.settings import ExplainSettings as ExplainSettings
from .explain.tail_summary import TailExample as TailExample
from .explain.tail_summary import TailSummary as TailSummary
from .shared.fit_reference import fit_reference as fit_reference
from .shared.report import About as About
from .shared.sections import register_section as register_section
from .shared.sections import unregister_section as unregister_section
from .triage.report import TriageReport as TriageReport
from .triage.run import TriageSettings as TriageSettings
from .triage.run import triage as triage
