"""Operations of exported programs in the words of the functions that people call, which the rules are written for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_OPERATION = type(torch.ops.aten.relu.default)

_ORDERS: Mapping[str, tuple[int, ...]] = {
    "batch_norm": (0, 3, 4, 1, 2, 5, 6, 7),
    "instance_norm": (0, 3, 4, 1, 2, 5, 6, 7),
    "layer_norm": (0, 1, 2, 3, 4),
    "group_norm": (0, 1, 2, 3, 4),
}
"""Where the arguments of a function stand among those of the operation that has its name."""


def as_called(
    operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """A function, or a tensor's method, that does what an operation of an exported program does.

    Args:
        operation: What was called, such as ``torch.ops.aten.relu.default``; anything else is returned as it is.
        args: Its arguments.
        kwargs: Its named arguments.

    >>> import torch
    >>> function, _, _ = as_called(torch.ops.aten.linear.default, (), {})
    >>> function is torch.nn.functional.linear
    True
    """
    if not isinstance(operation, _OPERATION) or operation.namespace != "aten":
        return operation, args, kwargs
    name, _, _ = operation.__name__.partition(".")
    if name == "slice":
        return Tensor.__getitem__, (args[0], _index(*args[1:], **kwargs)), {}
    order = _ORDERS.get(name)
    if order and not kwargs and (len(args) > max(order) or order == tuple(range(len(order)))):
        return getattr(functional, name), tuple(args[place] for place in order[: len(args)]), {}
    for place in () if order else (Tensor, functional, torch):
        if callable(getattr(place, name, None)):
            return getattr(place, name), args, kwargs
    if name.endswith("_") and callable(getattr(functional, name[:-1], None)):
        return getattr(functional, name[:-1]), args, {**kwargs, "inplace": True}
    return operation, args, kwargs


def _index(dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> tuple[Any, ...]:
    """What `slice` takes, as an index."""
    taken = slice(start, end, step)
    return (*[slice(None)] * dim, taken) if dim >= 0 else (..., taken, *[slice(None)] * (-dim - 1))
