"""The methods: one paper, one file, one class, each a ``captum.attr.Attribution``."""

from captum_paramsal.attr.parameter_saliency import ParameterSaliency
from captum_paramsal.attr.pot_saliency import POTSaliency

__all__ = ["POTSaliency", "ParameterSaliency"]
