"""A few lines about a result, as text and for notebooks."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, fields, is_dataclass, replace
from html import escape
from typing import Any

from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

_WIDTH = 90
"""Characters of what is said of one thing, at most."""

_NAMED = 3
"""Keys and names that are said of several, at most."""


_PICTURES = 4
"""Maps that are shown of several, the first ones."""

_SIDE = 96
"""Pixels of the longer side of a map that is shown, at most: four of them are at most 50 kB of a notebook."""


@dataclass(frozen=True)
class Summary:
    """What is said of an object: its kind, and a few facts by name.

    Attributes:
        title: Kind of the object.
        facts: What is said of each of its parts, by the part's name.
        pictures: What notebooks show below, each a PNG.

    >>> print(Summary("Trace", {"images": "4"}).text)
    Trace
      images: 4
    >>> Summary("Trace", {"size": "<b>"}).html
    '<table><caption>Trace</caption><tr><th>size</th><td>&lt;b&gt;</td></tr></table>'
    """

    title: str
    facts: Mapping[str, str]
    pictures: Sequence[bytes] = ()

    @property
    def text(self) -> str:
        """One line for each fact."""
        return "\n".join([self.title, *(f"  {name}: {fact}" for name, fact in self.facts.items())])

    @property
    def html(self) -> str:
        """A small table, everything escaped, and the pictures below it."""
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(fact)}</td></tr>" for name, fact in self.facts.items())
        shown = "".join(
            f'<img alt="{escape(self.title)} {number}" style="height: 96px; margin: 2px" '
            f'src="data:image/png;base64,{b64encode(picture).decode()}">'
            for number, picture in enumerate(self.pictures)
        )
        return f"<table><caption>{escape(self.title)}</caption>{rows}</table>{shown}"


class Summarized:
    """Prints as a summary: of its fields where it is a dataclass, or of what a subclass names as its facts."""

    def _facts(self) -> Mapping[str, Any]:
        values: Any = self
        return {field.name: getattr(values, field.name) for field in fields(values)} if is_dataclass(values) else {}

    def _maps(self) -> Sequence[Tensor]:
        """Maps ``(H, W)`` that say more than numbers, for notebooks."""
        return ()

    @property
    def _summary(self) -> Summary:
        return Summary(type(self).__name__, {name: described(value) for name, value in self._facts().items()})

    def __repr__(self) -> str:
        return self._summary.text

    def _repr_html_(self) -> str:
        pictures = [png_of(one) for one in self._maps()[:_PICTURES]]
        return replace(self._summary, pictures=pictures).html


def png_of(values: Tensor) -> bytes:
    """A small grey picture of a map: white where it is 0 or less, black at its maximum.

    Args:
        values: ``(H, W)``; shrunk by maxima, so that single pixels stay to be seen.

    >>> import torch
    >>> png_of(torch.eye(3))[1:4]
    b'PNG'
    """
    shown = values.detach().cpu().double().nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
    shrunk = max(1.0, max(shown.shape) / _SIDE)
    height, width = (max(1, int(size / shrunk)) for size in shown.shape)
    if shrunk > 1:
        shown = adaptive_max_pool2d(shown[None, None], (height, width))[0, 0]
    grey = (255 - 255 * shown / (float(shown.max()) or 1.0)).round().byte()
    # A row of the format begins with the number of its filter, none.
    rows = b"".join(b"\0" + bytes(row) for row in grey.tolist())
    parts = {b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), b"IDAT": zlib.compress(rows), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    )


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
