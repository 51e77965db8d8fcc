"""Two checkpoints of one architecture: what only one gets right, and which filters differ."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
