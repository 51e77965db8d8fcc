"""A whole set of mistakes at once: what is confused, which filters did it, which mistakes belong together."""

import lazy_loader as lazy

from captum_paramsal.versions import renamed

_load, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
_RENAMED = {"groups_alike": "group_by_similarity"}
__getattr__ = renamed(__name__, _load, _RENAMED)
