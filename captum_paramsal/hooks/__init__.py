"""The only place that registers hooks or flips flags."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)

from captum_paramsal.hooks import layer_rules  # noqa: E402, F401 -- the rules register themselves
