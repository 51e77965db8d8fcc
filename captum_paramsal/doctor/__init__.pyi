from .diagnosis import Diagnosis as Diagnosis
from .evidence import EvidenceSettings as EvidenceSettings
from .findings import Findings as Findings
