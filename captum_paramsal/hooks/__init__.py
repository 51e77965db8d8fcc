"""The only place that registers hooks or flips flags."""

import lazy_loader as lazy

from captum_paramsal.versions import renamed

_load, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
_RENAMED = {"scoring_state": "frozen_eval"}
__getattr__ = renamed(__name__, _load, _RENAMED)

from captum_paramsal.hooks import layer_rules  # noqa: E402, F401 -- the rules register themselves
