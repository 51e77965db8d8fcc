"""What a result was computed with, and public names that a version renamed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from importlib.metadata import version
from typing import Any, ParamSpec, TypeVar

from captum_paramsal.errors import warn_caller

Arguments = ParamSpec("Arguments")
_Result = TypeVar("_Result")

__version__ = "0.2.0"


def versions() -> dict[str, str]:
    """Versions of this package, Captum and PyTorch, as results keep them."""
    import torch  # noqa: PLC0415 -- the package's root imports this file, and loads torch only when it is used

    return {"captum_paramsal": __version__, "captum": version("captum"), "torch": torch.__version__}


def renamed(face: str, load: Callable[[str], Any], names: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a room's face that also knows its old names, for one release.

    Args:
        face: Name of the package whose face it is.
        load: Its ``__getattr__`` for the names of now.
        names: New name by old name; with the other package before it for a name that lives on another face now.
    """

    def load_also_by_old_name(name: str) -> Any:
        if name not in names:
            return load(name)
        home, _, new = names[name].rpartition(".")
        message = f"`{face}.{name}` is now `{home or face}.{new}`; the old name goes with version 0.3."
        warn_caller(message, DeprecationWarning)
        return getattr(import_module(home), new) if home else load(new)

    return load_also_by_old_name


def renamed_arguments(**names: str) -> Callable[[Callable[Arguments, _Result]], Callable[Arguments, _Result]]:
    """Makes a function take keyword arguments by their old names too, for one release.

    Args:
        **names: New name by old name.
    """

    def decorate(function: Callable[Arguments, _Result]) -> Callable[Arguments, _Result]:
        @wraps(function)
        def called(*args: Arguments.args, **kwargs: Arguments.kwargs) -> _Result:
            for old, new in names.items():
                if old in kwargs:
                    message = f"`{old}` of `{function.__name__}` is now `{new}`; the old name goes with version 0.3."
                    warn_caller(message, DeprecationWarning)
                    kwargs.setdefault(new, kwargs.pop(old))
            return function(*args, **kwargs)

        return called

    return decorate
