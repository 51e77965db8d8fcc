"""Methods side by side: the same images, the same metrics, one table."""

import lazy_loader as lazy

from captum_paramsal.versions import renamed

_load, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
_RENAMED = {"bootstrap_mean": "captum_paramsal.stats.bootstrap_mean"}
__getattr__ = renamed(__name__, _load, _RENAMED)
