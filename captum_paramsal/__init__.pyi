from .attr.activation_spectrum import ActivationSpectrum as ActivationSpectrum
from .attr.cnn_fixations import CNNFixations as CNNFixations
from .attr.component_attribution import (
    ComponentAttribution as ComponentAttribution,
    ComponentEffects as ComponentEffects,
)
from .attr.discernible_neurons import DiscernibleNeurons as DiscernibleNeurons
from .attr.filter_attribution import FilterAttribution as FilterAttribution
from .attr.forward_impact import ForwardImpact as ForwardImpact
from .attr.input_space_saliency import InputSpaceSaliency as InputSpaceSaliency
from .attr.model_doctor import ModelDoctor as ModelDoctor
from .attr.parameter_saliency import ParameterSaliency as ParameterSaliency
from .attr.pot_saliency import POTSaliency as POTSaliency
from .attr.trace_attribution import TraceAttribution as TraceAttribution
from .comparison.comparing import compare as compare
from .comparison.result import Comparison as Comparison
from .doctor import Diagnosis as Diagnosis, Findings as Findings
from .errors import (
    CheckpointError as CheckpointError,
    ConstantEvidenceWarning as ConstantEvidenceWarning,
    CureError as CureError,
    CutOffLayersWarning as CutOffLayersWarning,
    DefaultLayersWarning as DefaultLayersWarning,
    DiagnosisFileError as DiagnosisFileError,
    DoubleSoftmaxWarning as DoubleSoftmaxWarning,
    FewPassesWarning as FewPassesWarning,
    FewSamplesWarning as FewSamplesWarning,
    ForwardError as ForwardError,
    GroupError as GroupError,
    IncompleteTailWarning as IncompleteTailWarning,
    InputError as InputError,
    InterventionError as InterventionError,
    LayerError as LayerError,
    ModelError as ModelError,
    ParamsalError as ParamsalError,
    PatchError as PatchError,
    RandomModelWarning as RandomModelWarning,
    ReferenceFileError as ReferenceFileError,
    ReferenceMismatchError as ReferenceMismatchError,
    SourceError as SourceError,
    TargetError as TargetError,
    TraceError as TraceError,
    TraceFileError as TraceFileError,
    TreatmentError as TreatmentError,
    TriageFileError as TriageFileError,
    UnscoredWeightsWarning as UnscoredWeightsWarning,
    WholePassesWarning as WholePassesWarning,
)
from .filters import Filter as Filter, FilterIndex as FilterIndex
from .graph.settings import TraceWeights as TraceWeights
from .models_compared import ModelComparison as ModelComparison, compare_models as compare_models
from .reference import Reference as Reference
from .traces import Trace as Trace
from .versions import __version__ as __version__
