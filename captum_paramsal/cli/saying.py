"""What commands say: lines, and an exit status."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sized
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from captum_paramsal.errors import SourceError
from captum_paramsal.files.text import number_of, readable

if TYPE_CHECKING:
    from captum_paramsal.report.shared.report import Report

REFUSED = 1
"""Exit status where all went well, and a file that was asked for was refused."""

_unsaid: list[OSError] = []
"""Why standard output took no more lines."""


def say(message: object, *, file: TextIO | None = None) -> None:
    """Print a line, with an escape for whatever the terminal cannot show or would obey, such as in names of files.

    Where nobody listens any more, or the disk is full, no work is lost for it: :func:`speaking` says so at its end.

    Args:
        message: What to print.
        file: Where to; standard output by default.
    """
    stream = sys.stdout if file is None else file
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = readable(str(message)).encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        if file is None:
            _unsaid.append(error)
        with suppress(OSError, ValueError):
            # What waits in the stream's buffer would fail again when the process ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say_accuracy(report: Report) -> None:
    """Print how many images and mistakes there were, and what was skipped."""
    images, mistakes = number_of(report.image_count, "image"), number_of(report.mistake_count, "mistake")
    say(f"{images}, {mistakes} (accuracy {report.accuracy:.1%}){and_skipped(report.skipped)}")


def and_skipped(skipped: Sized) -> str:
    """The end of a line that counts images: how many files were skipped, where any were."""
    return f", {number_of(len(skipped), 'file')} skipped" if skipped else ""


@contextmanager
def speaking() -> Iterator[None]:
    """While a command runs: warnings are lines as its others, and lines that could not be printed end it.

    Raises:
        SourceError: Standard output took no line, once all else is done; none where its reader has gone.
    """
    _unsaid.clear()
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        yield
    lost = [error for error in _unsaid if not isinstance(error, BrokenPipeError)]
    if lost:
        message = (
            f"Expected a standard output that can be written to, got {type(lost[0]).__name__}: {lost[0]}. "
            "What was asked for in files has been written."
        )
        raise SourceError(message)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """To a command's user, who has no line of code to look at."""
    say(f"captum-paramsal: warning: {message}", file=sys.stderr)
