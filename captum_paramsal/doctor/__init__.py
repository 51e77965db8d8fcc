"""Which channels a class relies on: evidence at a layer, and what a diagnosis found about classes and images."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
