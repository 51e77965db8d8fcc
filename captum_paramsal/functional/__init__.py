"""Every equation once: tensors in, tensors out; no modules, no hooks, no files."""

import lazy_loader as lazy

from captum_paramsal.versions import renamed

_load, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
_RENAMED = {"usable": "detached"}
__getattr__ = renamed(__name__, _load, _RENAMED)
