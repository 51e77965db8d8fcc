"""The methods: one paper, one file, one class, each a ``captum.attr.Attribution``."""

from captum_paramsal.attr.cnn_fixations import CNNFixations
from captum_paramsal.attr.discernible_neurons import DiscernibleNeurons
from captum_paramsal.attr.input_space_saliency import InputSpaceSaliency
from captum_paramsal.attr.model_doctor import ModelDoctor
from captum_paramsal.attr.parameter_saliency import ParameterSaliency
from captum_paramsal.attr.pot_saliency import POTSaliency

__all__ = [
    "CNNFixations",
    "DiscernibleNeurons",
    "InputSpaceSaliency",
    "ModelDoctor",
    "POTSaliency",
    "ParameterSaliency",
]
