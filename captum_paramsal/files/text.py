"""Text of other people, such as names of files and of classes, as something that can be shown."""

from __future__ import annotations

import re

_UNREADABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but tabulator and line feed
    "\u202a-\u202e\u2066-\u2069"  # what turns round the direction of the text after it
    "\ud800-\udfff"  # halves of a pair of UTF-16, and bytes of a file name that are no UTF-8
    "\ufdd0-\ufdef\ufffe\uffff]"  # no characters at all
)
_HALVES = re.compile("[\ud800-\udfff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell begins with that a spreadsheet runs."""

_NEGATIVE = re.compile(r"-\d+(\.\d+)?(e[+-]?\d+)?")


def readable(text: str) -> str:
    r"""A text with an escape in place of each character that no page, terminal, figure or file of UTF-8 can show.

    >>> print(readable("a\x1b[31mred\u202egnp.exe caf\udce9"))
    a\x1b[31mred\u202egnp.exe caf\xe9
    """
    return _UNREADABLE.sub(_escape, text)


def number_of(count: int, noun: str) -> str:
    """A count with its noun.

    >>> number_of(1, "mistake"), number_of(1200, "image")
    ('1 mistake', '1,200 images')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def encodable(json_text: str) -> str:
    r"""JSON that UTF-8 can hold, and that means the same: halves of a pair of UTF-16 as JSON escapes them.

    >>> print(encodable('"caf\udce9"'))
    "caf\udce9"
    """
    return _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", json_text)


def as_cell(value: object) -> object:
    """A value of a table as a spreadsheet shows it, and never runs it: text that looks like a formula gets a quote.

    >>> as_cell("=1+1"), as_cell("-0.5"), as_cell(-0.5), as_cell("cat")
    ("'=1+1", '-0.5', -0.5, 'cat')
    """
    if not isinstance(value, str):
        return value
    text = readable(value)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) and not _NEGATIVE.fullmatch(text) else text


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    # Python keeps a byte of a file name that is no UTF-8 as U+DC00 and the byte.
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{code:04x}"
