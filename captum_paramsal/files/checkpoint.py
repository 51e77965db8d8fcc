"""A pass on disk: what it has taken so far, written now and then, and read when the pass is started again."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.errors import CheckpointError
from captum_paramsal.files.atomic import replacing, try_place
from captum_paramsal.files.file_kind import checksum
from captum_paramsal.files.kinds import CHECKPOINT

SECONDS = 30.0
"""Between two writes, at least."""

SHARE = 0.05
"""Of the time that may go into writing."""


class Checkpoint:
    """A file that a pass resumes from.

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
            CheckpointError: The file is damaged, cannot be written later on, or was written by another run.
        """
        try:
            try_place(self.path)
        except OSError as error:
            raise self._unwritable(error) from error
        if not self.path.exists():
            return None
        try:
            with warnings.catch_warnings():
                # What torch has to say of a damaged file is said by the checksum.
                warnings.simplefilter("ignore")
                content = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
            written = content["format"], content["version"]
            run, state = content["run"], content["state"]
            whole = content.get("checksum") == _checksum(content)
        except Exception as error:  # a damaged pickle raises nearly anything
            why = f"{type(error).__name__}: {error}"
            raise self._unreadable(why) from error
        if written != (CHECKPOINT.format, CHECKPOINT.versions[-1]):
            why = f"format {written[0]!r} version {written[1]!r}"
            raise self._unreadable(why)
        if not whole:
            why = "it does not match its checksum"
            raise self._unreadable(why)
        different = {name: value for name, value in self._run.items() if run.get(name) != value}
        if different:
            pairs = ((name, *_parted(run.get(name), value)) for name, value in different.items())
            values = (f"{name} {shortened(was)} instead of {shortened(is_now)}" for name, was, is_now in pairs)
            message = (
                f"Expected a checkpoint of this very run in {str(self.path)!r}, got one with other "
                f"{', '.join(different)}: {'; '.join(values)}. Delete it to begin again, or give another file."
            )
            raise CheckpointError(message)
        return dict(state)

    def _unreadable(self, why: str) -> CheckpointError:
        return CheckpointError(
            f"Expected a checkpoint of version {CHECKPOINT.versions[-1]} in {str(self.path)!r}, got a file that cannot "
            f"be read: {why}. Delete it to begin again."
        )

    def _unwritable(self, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"Expected a place for the checkpoint, but {str(self.path)!r} cannot be written: {error}."
        )

    def is_due(self) -> bool:
        """Whether enough time has gone since the last write."""
        return time.monotonic() >= self._next

    def save(self, state: dict[str, Any]) -> None:
        """Write the state; the file that is there is replaced only when the new one is complete.

        Raises:
            CheckpointError: The file cannot be written.
        """
        start = time.monotonic()
        content = {
            "format": CHECKPOINT.format,
            "version": CHECKPOINT.versions[-1],
            "run": self._run,
            "state": state,
        }
        try:
            content["checksum"] = _checksum(content)
            with replacing(self.path) as [partial]:
                torch.save(content, partial)
        except (OSError, RuntimeError) as error:
            raise self._unwritable(error) from error
        now = time.monotonic()
        # Not a fixed rhythm: a state that takes long to write would slow the pass down.
        self._next = now + max(SECONDS, (now - start) / SHARE)


def _checksum(content: dict[str, Any]) -> str:
    tensors: dict[str, Tensor] = {}
    described = [_described(content[key], key, tensors) for key in ("format", "version", "run", "state")]
    return checksum("\n".join(described), tensors)


def _described(value: Any, name: str, tensors: dict[str, Tensor]) -> str:
    """A value in words, types included, its tensors by the place that they have in it."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return f"tensor {name} {value.requires_grad}"
    kind = type(value).__name__
    if isinstance(value, dict):
        parts = [f"{key!r}: {_described(part, f'{name}/{key!r}', tensors)}" for key, part in value.items()]
        return f"{kind}{{{', '.join(parts)}}}"
    if isinstance(value, (list, tuple)):
        parts = [_described(part, f"{name}/{place}", tensors) for place, part in enumerate(value)]
        return f"{kind}[{', '.join(parts)}]"
    return f"{kind} {value!r}"


def _parted(was: Any, is_now: Any) -> tuple[Any, Any]:
    """Two values, of mappings only what differs: a message has no room for the rest."""
    if not (isinstance(was, dict) and isinstance(is_now, dict)):
        return was, is_now
    names = [name for name in (was | is_now) if was.get(name) != is_now.get(name)]
    return {name: was.get(name) for name in names}, {name: is_now.get(name) for name in names}
