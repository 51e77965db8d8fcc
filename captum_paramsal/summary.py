"""A few lines about a result, as text and for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, fields, is_dataclass
from html import escape
from typing import Any

from torch import Tensor

_WIDTH = 90
"""Characters of what is said of one thing, at most."""

_NAMED = 3
"""Keys and names that are said of several, at most."""


@dataclass(frozen=True)
class Summary:
    """What is said of an object: its kind, and a few facts by name.

    Attributes:
        title: Kind of the object.
        facts: What is said of each of its parts, by the part's name.

    >>> print(Summary("Trace", {"images": "4"}).text)
    Trace
      images: 4
    >>> Summary("Trace", {"size": "<b>"}).html
    '<table><caption>Trace</caption><tr><th>size</th><td>&lt;b&gt;</td></tr></table>'
    """

    title: str
    facts: Mapping[str, str]

    @property
    def text(self) -> str:
        """One line for each fact."""
        return "\n".join([self.title, *(f"  {name}: {fact}" for name, fact in self.facts.items())])

    @property
    def html(self) -> str:
        """A small table, everything escaped."""
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(fact)}</td></tr>" for name, fact in self.facts.items())
        return f"<table><caption>{escape(self.title)}</caption>{rows}</table>"


class Summarized:
    """Prints as a summary: of its fields where it is a dataclass, or of what a subclass names as its facts."""

    def _facts(self) -> Mapping[str, Any]:
        values: Any = self
        return {field.name: getattr(values, field.name) for field in fields(values)} if is_dataclass(values) else {}

    @property
    def _summary(self) -> Summary:
        return Summary(type(self).__name__, {name: described(value) for name, value in self._facts().items()})

    def __repr__(self) -> str:
        return self._summary.text

    def _repr_html_(self) -> str:
        return self._summary.html


def described(value: Any) -> str:
    """A value in at most one line: shape and type of a tensor, number and first names of several things.

    >>> import torch
    >>> described(torch.zeros(3, 2)), described(0.25), described({"seed": 0}), described(("a", "b", "c", "d"))
    ('(3, 2) float32', '0.25', '1: seed', '4: a, b, c, ...')
    """
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, (Mapping, tuple, list)):
        names = [item if isinstance(item, str) else type(item).__name__ for item in list(value)[:_NAMED]]
        plain = all(isinstance(item, (int, float)) for item in value)
        text = ", ".join(f"{item:g}" for item in list(value)[:_NAMED]) if plain else ", ".join(dict.fromkeys(names))
        return _short(f"{len(value)}: {text}" + (", ..." if len(value) > _NAMED else "")) if value else "none"
    if isinstance(value, Summarized) or is_dataclass(value):
        count = f" of {len(value)}" if isinstance(value, Sized) else ""
        return f"{type(value).__name__}{count}"
    return _short(f"{value:.6g}" if isinstance(value, float) else str(value))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..."
