"""A pass on disk: what it has taken so far, written now and then, and read when the pass is started again."""

from __future__ import annotations

import os
import time
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from captum_paramsal.errors import CheckpointError

_FORMAT = "captum_paramsal.checkpoint"
_VERSION = 1

SECONDS = 30.0
"""Between two writes, at least."""

SHARE = 0.05
"""Of the time that may go into writing."""


class Checkpoint:
    """A file that a pass can go on from.

    Args:
        path: The file; it need not exist.
        run: What the pass is: a file written by a pass that differs in any of these is refused.
    """

    def __init__(self, path: str | os.PathLike[str], run: dict[str, Any]) -> None:
        self.path = Path(path)
        self._run = run
        self._next = time.monotonic() + SECONDS

    def load(self) -> dict[str, Any] | None:
        """State of the pass when it was last written; None if it never was.

        Raises:
            CheckpointError: A damaged file, or one of another run.
        """
        if not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
            found = content["format"], content["version"]
            run, state = content["run"], content["state"]
        except (OSError, RuntimeError, UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
            raise self._unreadable(str(error)) from error
        if found != (_FORMAT, _VERSION):
            what = f"format {found[0]!r} version {found[1]!r}"
            raise self._unreadable(what)
        different = [
            f"{name} {run.get(name)!r} instead of {value!r}"
            for name, value in self._run.items()
            if run.get(name) != value
        ]
        if different:
            message = (
                f"Expected a checkpoint of this very run in {str(self.path)!r}, got one of another: "
                f"{'; '.join(different)}. Give another file, or delete this one to start anew."
            )
            raise CheckpointError(message)
        return dict(state)

    def _unreadable(self, why: str) -> CheckpointError:
        return CheckpointError(
            f"Expected a checkpoint of version {_VERSION} in {str(self.path)!r}, got a file that cannot be read: "
            f"{why}. Delete it to start anew."
        )

    def is_due(self) -> bool:
        """Whether enough time has gone since the last write."""
        return time.monotonic() >= self._next

    def save(self, state: dict[str, Any]) -> None:
        """Write the state; the file that is there is replaced only when the new one is complete.

        Raises:
            CheckpointError: It cannot be written.
        """
        start = time.monotonic()
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
        content = {"format": _FORMAT, "version": _VERSION, "run": self._run, "state": state}
        try:
            torch.save(content, partial)
            partial.replace(self.path)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            message = f"Expected a place for the checkpoint, but {str(self.path)!r} cannot be written: {error}."
            raise CheckpointError(message) from error
        now = time.monotonic()
        self._next = now + max(SECONDS, (now - start) / SHARE)
