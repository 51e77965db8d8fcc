"""Figures from plain tensors, in one style: the only room that knows matplotlib."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
