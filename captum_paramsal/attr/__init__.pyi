from .activation_spectrum import ActivationSpectrum as ActivationSpectrum
from .cnn_fixations import CNNFixations as CNNFixations
from .component_attribution import (
    ComponentAttribution as ComponentAttribution,
    ComponentEffects as ComponentEffects,
)
from .discernible_neurons import DiscernibleNeurons as DiscernibleNeurons
from .filter_attribution import FilterAttribution as FilterAttribution
from .forward_impact import ForwardImpact as ForwardImpact
from .input_space_saliency import InputSpaceSaliency as InputSpaceSaliency
from .model_doctor import ModelDoctor as ModelDoctor
from .parameter_saliency import ParameterSaliency as ParameterSaliency
from .pot_saliency import POTSaliency as POTSaliency
from .trace_attribution import TraceAttribution as TraceAttribution
