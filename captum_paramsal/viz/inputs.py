"""What figures are given, and as what they take it: numbers, pictures, names of classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.files import readable

Values: TypeAlias = ArrayLike | Tensor
"""A tensor, an array of numpy, or what numpy makes one of."""

NamesOfClasses: TypeAlias = Mapping[int, str] | Sequence[str] | None
"""Names by class number, as far as known."""

_DOLLAR = re.compile(r"(?<!\\)\$")


def as_values(values: Values) -> Tensor:
    """As a tensor on the CPU, apart from any graph.

    >>> as_values([[1.0, 2.0]]).shape
    torch.Size([1, 2])
    """
    return torch.as_tensor(values).detach().cpu()


def grey(image: Values) -> Tensor:
    """A grey copy ``(H, W)`` of an image ``(1 or 3, H, W)``, as bright as it (ITU-R BT.601).

    Raises:
        InputError: An image of another shape.
    """
    pixels = as_values(image)
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or 0 in pixels.shape:
        message = f"Expected an image of shape (1 or 3, H, W), got {tuple(pixels.shape)}."
        raise InputError(message)
    weights = torch.tensor([0.299, 0.587, 0.114] if pixels.shape[0] == 3 else [1.0])
    return (pixels.float().clamp(0, 1) * weights[:, None, None]).sum(dim=0)


def class_label(names: NamesOfClasses, number: int) -> str:
    """Name of a class, or "class 17" where it has none.

    >>> class_label({3: "cat"}, 3), class_label(["dog"], 4), class_label(None, 0)
    ('cat', 'class 4', 'class 0')
    """
    if isinstance(names, Mapping):
        name = names.get(number)
    else:
        name = names[number] if names is not None and number < len(names) else None
    return literal(name or f"class {number}")


def literal(name: str) -> str:
    r"""A name as a figure shows it: every character as it is, no formula between dollar signs, nothing unreadable.

    >>> print(literal("$x$ \x1b"))
    \$x\$ \x1b
    """
    return _DOLLAR.sub(r"\\$", readable(name))
