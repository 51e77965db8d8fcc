"""Why did the classifier get this image wrong? Parameter attribution for PyTorch, as a Captum plugin.

The names below are the promise of this package; where they live may change. They load on first use, so that
importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captum_paramsal.attr.cnn_fixations import CNNFixations
    from captum_paramsal.attr.discernible_neurons import DiscernibleNeurons
    from captum_paramsal.attr.input_space_saliency import InputSpaceSaliency
    from captum_paramsal.attr.parameter_saliency import ParameterSaliency
    from captum_paramsal.attr.pot_saliency import POTSaliency
    from captum_paramsal.errors import (
        CheckpointError,
        GroupError,
        IncompleteTailWarning,
        InputError,
        LayerError,
        ParamsalError,
        ReferenceFileError,
        ReferenceMismatchError,
        SourceError,
        TargetError,
        TraceError,
    )
    from captum_paramsal.filters import Filter, FilterIndex
    from captum_paramsal.graph.following import TraceWeights
    from captum_paramsal.reference import Reference
    from captum_paramsal.trace import Trace

__version__ = "0.1.0"

__all__ = [
    "CNNFixations",
    "CheckpointError",
    "DiscernibleNeurons",
    "Filter",
    "FilterIndex",
    "GroupError",
    "IncompleteTailWarning",
    "InputError",
    "InputSpaceSaliency",
    "LayerError",
    "POTSaliency",
    "ParameterSaliency",
    "ParamsalError",
    "Reference",
    "ReferenceFileError",
    "ReferenceMismatchError",
    "SourceError",
    "TargetError",
    "Trace",
    "TraceError",
    "TraceWeights",
    "__version__",
]

_ROOMS = {
    "CNNFixations": "attr.cnn_fixations",
    "DiscernibleNeurons": "attr.discernible_neurons",
    "Filter": "filters",
    "FilterIndex": "filters",
    "InputSpaceSaliency": "attr.input_space_saliency",
    "POTSaliency": "attr.pot_saliency",
    "ParameterSaliency": "attr.parameter_saliency",
    "Reference": "reference",
    "Trace": "trace",
    "TraceWeights": "graph.following",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_ROOMS.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
