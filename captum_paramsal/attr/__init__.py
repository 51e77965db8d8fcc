"""The methods: one paper, one file, one class, each a ``captum.attr.Attribution``."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
