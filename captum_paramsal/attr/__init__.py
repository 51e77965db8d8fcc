"""The methods: one paper, one file, one class, each a ``captum.attr.Attribution``."""

from captum_paramsal.attr.parameter_saliency import ParameterSaliency

__all__ = ["ParameterSaliency"]
