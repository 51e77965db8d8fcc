"""Two houses behind one face: interventions on filters, and treating a classifier."""

import lazy_loader as lazy

from captum_paramsal.versions import renamed

_load, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
_RENAMED = {
    "Bystanders": "ControlImages",
    "CuredOthers": "StepTransfer",
    "Tally": "HeldOutPredictions",
    "cure_others": "step_transfer",
    "only_layers": "restrict_to_layers",
}
__getattr__ = renamed(__name__, _load, _RENAMED)
