"""Functions of PyTorch that are made of others, run so that a mode sees those."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

_OVERRIDES = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


@cache
def opened(func: FunctionType) -> Callable[..., Any]:
    """A function that does not hand itself to a mode, which sees what it calls instead."""
    never = dict.fromkeys(_OVERRIDES, lambda *_: False)
    copy = FunctionType(
        func.__code__, {**func.__globals__, **never}, func.__name__, func.__defaults__, func.__closure__
    )
    copy.__kwdefaults__ = func.__kwdefaults__
    return copy
