from .attr.cnn_fixations import CNNFixations as CNNFixations
from .attr.discernible_neurons import DiscernibleNeurons as DiscernibleNeurons
from .attr.filter_attribution import FilterAttribution as FilterAttribution
from .attr.input_space_saliency import InputSpaceSaliency as InputSpaceSaliency
from .attr.model_doctor import ModelDoctor as ModelDoctor
from .attr.parameter_saliency import ParameterSaliency as ParameterSaliency
from .attr.pot_saliency import POTSaliency as POTSaliency
from .attr.trace_attribution import TraceAttribution as TraceAttribution
from .comparison.comparing import compare as compare
from .comparison.result import Comparison as Comparison
from .doctor import Diagnosis as Diagnosis
from .doctor import Findings as Findings
from .errors import (
    CheckpointError as CheckpointError,
)
from .errors import (
    ConstantEvidenceWarning as ConstantEvidenceWarning,
)
from .errors import (
    DiagnosisFileError as DiagnosisFileError,
)
from .errors import (
    FewSamplesWarning as FewSamplesWarning,
)
from .errors import (
    ForwardError as ForwardError,
)
from .errors import (
    GroupError as GroupError,
)
from .errors import (
    IncompleteTailWarning as IncompleteTailWarning,
)
from .errors import (
    InputError as InputError,
)
from .errors import (
    InterventionError as InterventionError,
)
from .errors import (
    LayerError as LayerError,
)
from .errors import (
    ModelError as ModelError,
)
from .errors import (
    ParamsalError as ParamsalError,
)
from .errors import (
    PatchError as PatchError,
)
from .errors import (
    ReferenceFileError as ReferenceFileError,
)
from .errors import (
    ReferenceMismatchError as ReferenceMismatchError,
)
from .errors import (
    SourceError as SourceError,
)
from .errors import (
    TargetError as TargetError,
)
from .errors import (
    TraceError as TraceError,
)
from .errors import (
    TraceFileError as TraceFileError,
)
from .errors import (
    TreatmentError as TreatmentError,
)
from .errors import (
    TriageFileError as TriageFileError,
)
from .errors import (
    WholePassesWarning as WholePassesWarning,
)
from .filters import Filter as Filter
from .filters import FilterIndex as FilterIndex
from .graph.settings import TraceWeights as TraceWeights
from .reference import Reference as Reference
from .traces import Trace as Trace
from .versions import __version__ as __version__
