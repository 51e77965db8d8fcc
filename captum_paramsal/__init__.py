"""Why did the classifier get this image wrong? Parameter attribution for PyTorch, as a Captum plugin.

The names below are the promise of this package; where they live may change. They load on first use, so that
importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from captum_paramsal.versions import __version__

if TYPE_CHECKING:
    from captum_paramsal.attr.cnn_fixations import CNNFixations
    from captum_paramsal.attr.discernible_neurons import DiscernibleNeurons
    from captum_paramsal.attr.input_space_saliency import InputSpaceSaliency
    from captum_paramsal.attr.model_doctor import ModelDoctor
    from captum_paramsal.attr.parameter_saliency import ParameterSaliency
    from captum_paramsal.attr.pot_saliency import POTSaliency
    from captum_paramsal.comparison.comparing import compare
    from captum_paramsal.comparison.result import Comparison
    from captum_paramsal.diagnosis import Diagnosis
    from captum_paramsal.errors import (
        CheckpointError,
        ConstantEvidenceWarning,
        DiagnosisFileError,
        FewSamplesWarning,
        GroupError,
        IncompleteTailWarning,
        InputError,
        InterventionError,
        LayerError,
        ParamsalError,
        PatchError,
        ReferenceFileError,
        ReferenceMismatchError,
        SourceError,
        TargetError,
        TraceError,
        TreatmentError,
        TriageFileError,
        WholePassesWarning,
    )
    from captum_paramsal.filters import Filter, FilterIndex
    from captum_paramsal.findings import Findings
    from captum_paramsal.graph.following import TraceWeights
    from captum_paramsal.reference import Reference
    from captum_paramsal.trace import Trace

__all__ = [
    "CNNFixations",
    "CheckpointError",
    "Comparison",
    "ConstantEvidenceWarning",
    "Diagnosis",
    "DiagnosisFileError",
    "DiscernibleNeurons",
    "FewSamplesWarning",
    "Filter",
    "FilterIndex",
    "Findings",
    "GroupError",
    "IncompleteTailWarning",
    "InputError",
    "InputSpaceSaliency",
    "InterventionError",
    "LayerError",
    "ModelDoctor",
    "POTSaliency",
    "ParameterSaliency",
    "ParamsalError",
    "PatchError",
    "Reference",
    "ReferenceFileError",
    "ReferenceMismatchError",
    "SourceError",
    "TargetError",
    "Trace",
    "TraceError",
    "TraceWeights",
    "TreatmentError",
    "TriageFileError",
    "WholePassesWarning",
    "__version__",
    "compare",
]

_ROOMS = {
    "CNNFixations": "attr.cnn_fixations",
    "Comparison": "comparison.result",
    "Diagnosis": "diagnosis",
    "DiscernibleNeurons": "attr.discernible_neurons",
    "Filter": "filters",
    "FilterIndex": "filters",
    "Findings": "findings",
    "InputSpaceSaliency": "attr.input_space_saliency",
    "POTSaliency": "attr.pot_saliency",
    "ModelDoctor": "attr.model_doctor",
    "ParameterSaliency": "attr.parameter_saliency",
    "Reference": "reference",
    "Trace": "trace",
    "TraceWeights": "graph.following",
    "compare": "comparison.comparing",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_ROOMS.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
