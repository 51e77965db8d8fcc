"""Which filters are scored, and the pass over a batch that gives each of them its mean absolute gradient."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
