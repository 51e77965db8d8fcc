"""Figures that are put together and not drawn, which takes most of the time that a report takes."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any
from unittest.mock import patch

from matplotlib.figure import Figure

FILES = {
    "svg": '<svg xmlns="http://www.w3.org/2000/svg" version="1.1" viewBox="0 0 1 1"></svg>',
    "png": base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
    ),
}
"""A drawing of nothing in each format."""


def _saved(_: Figure, file: IO[Any], *, format: str, **__: Any) -> None:  # noqa: A002 -- matplotlib's own name
    file.write(FILES[format])


@contextmanager
def undrawn() -> Iterator[None]:
    """Save an empty drawing in place of every figure."""
    with patch.object(Figure, "savefig", _saved):
        yield
