"""Statistics that are taken in one pass and merged exactly, and the tails that are fitted to them."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
