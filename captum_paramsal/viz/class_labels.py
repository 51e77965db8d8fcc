"""What a class is called in a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

ClassNames: TypeAlias = Mapping[int, str] | Sequence[str] | None
"""Names by class number, as far as known."""


def class_label(names: ClassNames, number: int) -> str:
    """Name of a class, or "class 17" where it has none.

    >>> class_label({3: "cat"}, 3), class_label(["dog"], 4), class_label(None, 0)
    ('cat', 'class 4', 'class 0')
    """
    if isinstance(names, Mapping):
        return names.get(number) or f"class {number}"
    return names[number] if names is not None and number < len(names) else f"class {number}"
