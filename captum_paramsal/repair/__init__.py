"""Interventions on filters, treating a classifier, and the difference that it makes as a file."""

import lazy_loader as lazy

from captum_paramsal.versions import renamed

_load, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
_RENAMED = {"Bystanders": "ControlImages", "Tally": "HeldOutPredictions", "only_layers": "restrict_to_layers"}
__getattr__ = renamed(__name__, _load, _RENAMED)
