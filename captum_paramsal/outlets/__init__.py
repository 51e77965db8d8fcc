"""Results in the tools that people work with: FiftyOne and TensorBoard."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
