"""The old name of :mod:`captum_paramsal.profiles`, for one release."""

from typing import Any

from captum_paramsal.versions import renamed

_RENAMED = {
    name: f"captum_paramsal.profiles.{name}"
    for name in ("FilterProfile", "LayerSelection", "filter_index", "select_layers")
}


def _load(name: str) -> Any:
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


__getattr__ = renamed(__name__, _load, _RENAMED)
