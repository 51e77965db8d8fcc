"""What the traced network (``torch.fx``) tells of a model's structure, and the way back through it."""

import lazy_loader as lazy

from captum_paramsal.versions import renamed

_load, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
_RENAMED = {
    "Beside": "SideInputs",
    "Following": "TraceSettings",
    "Rest": "TailNetwork",
    "batch_norms_behind": "batch_norms_after",
    "last_maps": "last_feature_maps",
}
__getattr__ = renamed(__name__, _load, _RENAMED)

from captum_paramsal.graph import rules  # noqa: E402, F401 -- the rules register themselves
