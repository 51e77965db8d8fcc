"""Models, weights and labelled photos from files: the only room that knows torchvision and Pillow."""

import lazy_loader as lazy

from captum_paramsal.versions import renamed

_load, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
_RENAMED = {"Batch": "SourceBatch"}
__getattr__ = renamed(__name__, _load, _RENAMED)
