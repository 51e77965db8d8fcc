"""Files that are whole or not there."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from captum_paramsal.errors import SourceError

LEFT_SECONDS = 3600.0
"""Age of a partial file that no run is still writing to."""

COMPLETE = "the files had been written"
"""What a ``KeyboardInterrupt`` says that came while files were put in their places."""


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
    require_no_folder(file)
    trial = _partial_of(file)
    trial.touch(exist_ok=False)
    trial.unlink()


def require_no_folder(path: str | os.PathLike[str]) -> None:
    """Refuse a folder where a file is meant; libraries say other things of it.

    Raises:
        OSError: A folder is there.
    """
    # Not `Path.is_dir`, which raises for a name that is too long.
    if os.path.isdir(path):  # noqa: PTH112
        raise IsADirectoryError(errno.EISDIR, "there is a folder", str(path))


@contextmanager
def replacing(*paths: Path, without: Collection[Path] = ()) -> Iterator[list[Path]]:
    """Partial files beside some files, which take their places, all at once, when the block ends without an error.

    A reader finds each file old or new, never half. After an error, Ctrl-C or SIGTERM at any moment the files are all
    old or all new, and none is new where one cannot be put in its place. They are put there in their order, so that the
    last one is new only where all are, whatever happens. The new files have the mode that the umask gives, whatever
    wrote them. What a killed run left in their places goes, once it is an hour old.

    Args:
        paths: The files.
        without: Files that are gone once these are there.

    Raises:
        OSError: A file cannot be written.
    """
    modes: dict[Path, int] = {}
    try:
        for path in paths:
            _clear_leftovers(path)
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
        with uninterrupted():
            _exchange(dict(zip(modes, paths, strict=True)), without)
    finally:
        for partial in modes:
            partial.unlink(missing_ok=True)


def _exchange(new: Mapping[Path, Path], without: Collection[Path]) -> None:
    """Put files in their places; where one cannot be, put all back that was there."""
    places = [*new.values(), *without]
    if len(places) == 1:
        for partial, path in new.items():
            partial.replace(path)
        return
    kept = {path: _partial_of(path) for path in places if path.is_symlink() or path.exists()}
    try:
        for path, copy in kept.items():
            _keep(path, copy)
        try:
            *first, last = new.items()
            for partial, path in first:
                partial.replace(path)
            for path in without:
                path.unlink(missing_ok=True)
            # Once this one is there, so is all the rest.
            last[0].replace(last[1])
        except BaseException:
            _put_back(places, kept)
            raise
    finally:
        for copy in kept.values():
            copy.unlink(missing_ok=True)


def _put_back(places: Collection[Path], kept: Mapping[Path, Path]) -> None:
    for path in places:
        if path in kept:
            kept[path].replace(path)
        else:
            path.unlink(missing_ok=True)


def _keep(path: Path, copy: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(errno.EISDIR, "there is a folder", str(path))
    try:
        os.link(path, copy, follow_symlinks=False)
    except (OSError, NotImplementedError):
        # Some file systems know no second name of a file.
        shutil.copy2(path, copy, follow_symlinks=False)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block has ended.

    Raises:
        KeyboardInterrupt: Ctrl-C came meanwhile; it says that the block has ended.
    """
    came: list[int] = []
    before = {}
    # Only the main thread gets signals, and only it may say what becomes of them.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if handler is not None:
                before[number] = handler
                signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    try:
        for late in came:
            signal.raise_signal(late)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(COMPLETE) from None


def _clear_leftovers(path: Path) -> None:
    """Remove partial files of a file that nobody writes to any more."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????.partial"):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime > LEFT_SECONDS:
                left.unlink()


def _partial_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def write_atomically(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write files, all or none.

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
