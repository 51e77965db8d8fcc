"""The methods: one paper, one file, one class, each a ``captum.attr.Attribution``."""

from captum_paramsal.attr.input_space_saliency import InputSpaceSaliency
from captum_paramsal.attr.parameter_saliency import ParameterSaliency
from captum_paramsal.attr.pot_saliency import POTSaliency

__all__ = ["InputSpaceSaliency", "POTSaliency", "ParameterSaliency"]
