from .annotate.report import AnnotationTask as AnnotationTask
from .annotate.run import AnnotationSettings as AnnotationSettings, annotate as annotate
from .compare.report import ComparisonReport as ComparisonReport
from .compare.run import ComparisonSettings as ComparisonSettings, compare as compare
from .compare_models.report import ModelComparisonReport as ModelComparisonReport
from .compare_models.run import ModelComparisonSettings as ModelComparisonSettings, compare_models as compare_models
from .cure.report import CureReport as CureReport
from .cure.run import cure as cure
from .cure.settings import CureReportSettings as CureReportSettings
from .doctor.data import (
    ChannelFinding as ChannelFinding,
    DiagnosedGroup as DiagnosedGroup,
    DiagnosedMistake as DiagnosedMistake,
)
from .doctor.report import DoctorReport as DoctorReport
from .doctor.run import doctor as doctor
from .doctor.settings import DoctorSettings as DoctorSettings
from .doctor.treating import TreatmentSettings as TreatmentSettings
from .doctor.treatment_records import TreatmentResult as TreatmentResult
from .explain.calibration import Calibration as Calibration, Shares as Shares
from .explain.data import ImageGroup as ImageGroup, Mistake as Mistake, RankedFilter as RankedFilter
from .explain.report import Explanation as Explanation
from .explain.run import explain as explain
from .explain.settings import ExplainSettings as ExplainSettings
from .explain.tail_summary import TailExample as TailExample, TailSummary as TailSummary
from .schemas import json_schemas as json_schemas
from .shared.fit_reference import fit_reference as fit_reference
from .shared.front_page import write_front_page as write_front_page
from .shared.manifest import Manifest as Manifest, ManifestFile as ManifestFile
from .shared.report import About as About
from .shared.sections import register_section as register_section, unregister_section as unregister_section
from .triage.report import TriageReport as TriageReport
from .triage.run import TriageSettings as TriageSettings, triage as triage
