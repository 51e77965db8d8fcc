"""What a trace found, and the search for its weights: values that know nothing of how they came about."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
