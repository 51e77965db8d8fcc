"""Does a map show where the object is, and what the model looks at? Measures for any method's maps and boxes."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
