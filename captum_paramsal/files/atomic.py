"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from captum_paramsal.errors import SourceError


def open_folder(path: str | Path) -> Path:
    """Make a folder if need be, and make sure that it can be written to.

    Meant to be called before long work, whose result would otherwise have nowhere to go.

    Raises:
        SourceError: The folder cannot be made or written to.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        message = f"Expected a folder that can be written to at '{folder}', got {type(error).__name__}: {error}."
        raise SourceError(message) from error
    return folder


def open_place(path: str | Path) -> Path:
    """Make sure that a file can be written here, and make its folder if need be.

    Meant to be called before long work, whose result would otherwise have nowhere to go.

    Raises:
        SourceError: A folder is there, or its own folder cannot be made or written to.
    """
    file = Path(path)
    open_folder(file.parent)
    try:
        try_place(file)
    except OSError as error:
        message = f"Expected a place to write a file to, got '{file}': {error.strerror}. Name a file."
        raise SourceError(message) from error
    return file


def try_place(file: Path) -> None:
    """Find out whether a file can be written here, without writing it.

    Raises:
        OSError: A folder is there, or nothing can be.
    """
    # Not `Path.is_dir`, which raises for a name that is too long.
    if os.path.isdir(file):  # noqa: PTH112
        raise IsADirectoryError(errno.EISDIR, "there is a folder", str(file))
    trial = _partial_of(file)
    trial.touch(exist_ok=False)
    trial.unlink()


@contextmanager
def replacing(*paths: Path) -> Iterator[list[Path]]:
    """Partial files beside some files, which take their places, in this order, when the block ends without an error.

    A reader, or a kill at any moment, finds each file old or new, never half. The new files have the mode that the
    umask gives, whatever wrote them.

    Raises:
        OSError: A file cannot be written.
    """
    modes: dict[Path, int] = {}
    try:
        for path in paths:
            partial = _partial_of(path)
            partial.touch(exist_ok=False)
            # Libraries that write tensors put a file in its place that only its owner may read.
            modes[partial] = partial.stat().st_mode
        yield [*modes]
        for partial, mode in modes.items():
            # Otherwise, after a power cut, a file may have its name and not its content.
            with partial.open("r+b") as file:
                os.fsync(file.fileno())
            partial.chmod(mode)
        for partial, path in zip(modes, paths, strict=True):
            partial.replace(path)
    finally:
        for partial in modes:
            partial.unlink(missing_ok=True)


def _partial_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def write_atomically(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write files, each whole or not at all, in the order given.

    Args:
        folder: Where.
        contents: Text, or bytes, of each file, by file name.

    Raises:
        SourceError: The folder cannot be written to.
    """
    try:
        with replacing(*(folder / name for name in contents)) as partials:
            for partial, content in zip(partials, contents.values(), strict=True):
                partial.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        message = f"Expected to write into '{folder}', got {type(error).__name__}: {error}."
        raise SourceError(message) from error
