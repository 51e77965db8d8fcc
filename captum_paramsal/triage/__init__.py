"""A whole set of mistakes at once: what is confused, which filters did it, which mistakes belong together."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
