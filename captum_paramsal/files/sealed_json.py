"""JSON that people read too, with a checksum in its last line."""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path

from captum_paramsal.files.file_kind import checksum

_END = "\n}\n"
_LAST_LINE = re.compile(r',\n"[^"\n]{8}": "([^"\n]{32})"\n}\s*\Z')
"""Also where a letter of its key is damaged, which would otherwise leave the rest unchecked."""


def sealed_json(text: str) -> str:
    r"""The JSON of :func:`as_json` with a checksum over all of it as its last entry.

    >>> print(sealed_json('{\n"a": 1\n}\n'), end="")
    {
    "a": 1,
    "checksum": "b4f19f1fa11d5a0ed8490f7abb9de3fd"
    }
    """
    return f'{text.removesuffix(_END)},\n"checksum": "{checksum(text, {})}"{_END}'


def require_whole_json(text: str) -> None:
    """Refuse JSON that does not match the checksum in its last line; without one, as earlier versions wrote, none is.

    Raises:
        ValueError: It does not.
    """
    last = _LAST_LINE.search(text)
    if last is not None and text != sealed_json(text[: last.start()] + _END):
        message = "a file that does not match its checksum"
        raise ValueError(message)


def digest_of(content: bytes) -> str:
    """32 hexadecimal digits of BLAKE2b over bytes."""
    return blake2b(content, digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """32 hexadecimal digits of BLAKE2b over the bytes of a file.

    Raises:
        OSError: It cannot be read.
    """
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
