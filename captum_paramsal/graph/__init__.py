"""What the traced network (``torch.fx``) tells of a model's structure, and the way back through it."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)

from captum_paramsal.graph import rules  # noqa: E402, F401 -- the rules register themselves
