"""Why did the classifier get this image wrong? Parameter attribution for PyTorch, as a Captum plugin.

The names below are the promise of this package; where they live may change. They load on first use, so that
importing the package costs nothing.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
