"""Methods side by side: the same images, the same metrics, one table."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
