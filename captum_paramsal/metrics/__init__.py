"""Does a map show where the object is, and what the model looks at? Measures for any method's maps and boxes."""

import lazy_loader as lazy

from captum_paramsal.versions import renamed

_load, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
_RENAMED = {"PointingGame": "PointingHits"}
__getattr__ = renamed(__name__, _load, _RENAMED)
