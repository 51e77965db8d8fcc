"""Every kind of file that the package writes and reads again, with its versions.

A layout that changes gets another version; the former ones stay readable for a release. What a kind says in JSON is its
content, which ``docs/schema`` describes.
"""

from captum_paramsal.errors import (
    CheckpointError,
    CureError,
    DiagnosisFileError,
    InterventionError,
    PatchError,
    ReferenceFileError,
    SourceError,
    TraceFileError,
    TreatmentError,
    TriageFileError,
)
from captum_paramsal.files.contents import (
    ComparisonContent,
    CurveContent,
    DiagnosisContent,
    ImageDifferencesContent,
    MistakeKindsContent,
    ModelComparisonContent,
    PatchContent,
    PicturesContent,
    PieceContent,
    ReferenceContent,
    SavedCureContent,
    TraceContent,
    TreatmentContent,
    TriageContent,
    WeightSearchContent,
)
from captum_paramsal.files.file_kind import FileKind
from captum_paramsal.files.json_file import JsonFile
from captum_paramsal.files.tensor_file import TensorFile

REFERENCE = TensorFile("reference", "captum_paramsal.reference", (1, 2, 3, 4), ReferenceFileError, ReferenceContent)
TRACE = TensorFile("trace", "captum_paramsal.trace", (1, 2, 3), TraceFileError, TraceContent)
WEIGHT_SEARCH = JsonFile("weight search", "captum_paramsal.weight_search", (1, 2), TraceFileError, WeightSearchContent)
DIAGNOSIS = TensorFile("diagnosis", "captum_paramsal.diagnosis", (1, 2), DiagnosisFileError, DiagnosisContent)
FINDINGS = TensorFile("findings", "captum_paramsal.findings", (1, 2), DiagnosisFileError)
PATCH = TensorFile("patch", "captum_paramsal.patch", (1, 2), PatchError, PatchContent)
TREATMENT = JsonFile("treatment", "captum_paramsal.treatment", (1, 2), TreatmentError, TreatmentContent)
CURE = JsonFile("cure", "captum_paramsal.cure", (1,), CureError, SavedCureContent)
CURVE = TensorFile("curve", "captum_paramsal.intervention_curve", (1, 2), InterventionError, CurveContent)
NEIGHBORS = TensorFile("neighbors", "captum_paramsal.neighbors", (1,), InterventionError)
STEP_TRANSFER = TensorFile("step transfer", "captum_paramsal.step_transfer", (1,), InterventionError)
MASKED_PIXELS = TensorFile("masked pixels", "captum_paramsal.masked_pixels", (1,), InterventionError)
PASTED_PIXELS = TensorFile("pasted pixels", "captum_paramsal.pasted_pixels", (1,), InterventionError)
MISTAKE_KINDS = TensorFile(
    "mistake kinds", "captum_paramsal.mistake_kinds", (1,), InterventionError, MistakeKindsContent
)
COMPARISON = TensorFile("comparison", "captum_paramsal.comparison", (1, 2), SourceError, ComparisonContent)
MODEL_COMPARISON = TensorFile(
    "model comparison", "captum_paramsal.model_comparison", (1, 2), SourceError, ModelComparisonContent
)
IMAGE_DIFFERENCES = TensorFile(
    "image differences", "captum_paramsal.image_differences", (1,), SourceError, ImageDifferencesContent
)
TRIAGE = TensorFile("triage", "captum_paramsal.triage", (1, 2), TriageFileError, TriageContent)
WEIGHTS = TensorFile("weights", "captum_paramsal.weights", (1,), SourceError)
PICTURES = JsonFile("pictures to annotate", "captum_paramsal.pictures", (1,), SourceError, PicturesContent)
PIECE = TensorFile("piece", "captum_paramsal.piece", (1,), CheckpointError, PieceContent)
CHECKPOINT = FileKind("checkpoint", "captum_paramsal.checkpoint", (2,), CheckpointError)
