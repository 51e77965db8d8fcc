"""What lies in a folder: its files, and whatever else is there, by name."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from captum_paramsal.sources.source import Skipped

_LEFT_BEHIND = frozenset(
    {
        "$recycle.bin",
        "#recycle",
        "#snapshot",
        "@eadir",
        "@recycle",
        "__macosx",
        "__pycache__",
        "found.000",
        "lost+found",
        "recycler",
        "system volume information",
    }
)
"""Folders that systems, archives and network drives make by themselves."""

_ERRORS = {errno.ENOENT: "a link to nothing", errno.ELOOP: "a link to itself"}


def is_left_behind(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or made by a system for itself.

    >>> is_left_behind("__MACOSX"), is_left_behind("._a.png"), is_left_behind("cats")
    (True, True, False)
    """
    return name.startswith(".") or name.casefold() in _LEFT_BEHIND


def walk(folder: Path) -> tuple[list[str], list[Skipped]]:
    """Every file below a folder, links followed, and what is there besides.

    Returns:
        Paths relative to the folder, in the order of their parts; and folders and entries that hold no photo whatever
        is in them: hidden ones, those that cannot be read, links to nothing, pipes, devices.
    """
    files: list[str] = []
    skipped: list[Skipped] = []
    root = folder.stat()
    for entry in _below(folder, "", frozenset({(root.st_dev, root.st_ino)})):
        (files if isinstance(entry, str) else skipped).append(entry)  # type: ignore[arg-type]
    return files, skipped


def why_no_file(path: Path) -> str:
    """Why nothing can be read at a path; empty if a file is there."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        # Not `Path.is_symlink`, which raises for a path that is too long.
        return _reason(error, _ERRORS[errno.ENOENT] if os.path.islink(path) else "no such file")  # noqa: PTH114
    except ValueError:
        return "no such file"
    return _kind(mode)


def _below(folder: Path, within: str, above: frozenset[tuple[int, int]]) -> Iterator[str | Skipped]:
    try:
        with os.scandir(folder / within) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        yield Skipped(within or ".", f"cannot be read: {error.strerror}")
        return
    for name in names:
        path = f"{within}/{name}" if within else name
        try:
            status = (folder / path).stat()
        except OSError as error:
            yield Skipped(path, _reason(error, _ERRORS[errno.ENOENT]))
            continue
        place = (status.st_dev, status.st_ino)
        if is_left_behind(name):
            yield Skipped(path, "hidden, or left behind by a system")
        elif stat.S_ISDIR(status.st_mode):
            yield from (
                _below(folder, path, above | {place})
                if place not in above
                else [Skipped(path, "a link to a folder that it lies in")]
            )
        elif reason := _kind(status.st_mode):
            yield Skipped(path, reason)
        else:
            yield path


def _reason(error: OSError, missing: str) -> str:
    if error.errno == errno.ENOENT:
        return missing
    return _ERRORS.get(error.errno or 0, f"cannot be read: {error.strerror}")


def _kind(mode: int) -> str:
    """What is no file, in words; empty for a file."""
    if stat.S_ISREG(mode):
        return ""
    return "a folder" if stat.S_ISDIR(mode) else "no file, but a pipe, a socket or a device"
