"""What commands say: lines, and an exit status."""

from __future__ import annotations

import sys
from typing import TextIO

from captum_paramsal.files.text import readable

REFUSED = 1
"""Exit status where all went well, and a file that was asked for was refused."""


def say(message: object, *, file: TextIO | None = None) -> None:
    """Print a line, with an escape for whatever the terminal cannot show or would obey, such as in names of files.

    Args:
        message: What to print.
        file: Where to; standard output by default.
    """
    stream = sys.stdout if file is None else file
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = readable(str(message)).encode(encoding, "backslashreplace").decode(encoding)
    print(text, file=stream, flush=True)
