"""How much a weights file may unpack to: looked at before anything is."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from captum_paramsal.errors import SourceError

_COPIES = 16
"""Of the model's tensors, at most: with the states of an optimiser and moving averages there are four or five."""
_SLACK = 64 << 20
"""Bytes of other tensors."""
_PICKLE, _PICKLE_OF_TENSOR = 4 << 20, 2 << 10
"""Bytes of the list of contents, and for each tensor of the model; torch writes some hundred for a tensor."""


@contextmanager
def bounded(path: Path, tensors: Iterable[Tensor]) -> Iterator[BinaryIO]:
    """A file of ``torch.save``, once it is sure that it unpacks to no more than a checkpoint of a model does.

    A few hundred kilobytes may otherwise unpack to all of a machine's memory.

    Args:
        path: The file.
        tensors: The model's.

    Raises:
        SourceError: It would unpack to more.
    """
    sizes = [tensor.numel() * tensor.element_size() for tensor in tensors]
    most = _COPIES * sum(sizes) + _SLACK
    most_described = _PICKLE + _PICKLE_OF_TENSOR * len(sizes)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        # What is stored as it is takes no more memory than it takes on the disk.
        packed = sum(entry.file_size for entry in entries if entry.compress_type != zipfile.ZIP_STORED)
        _require(path, "compressed bytes", packed, most)
        described = sum(entry.file_size for entry in entries if entry.filename.endswith("data.pkl"))
        _require(path, "bytes of its list of contents", described, most_described)
        with path.open("rb") as file:
            yield file
    else:
        with path.open("rb", buffering=0) as raw:
            yield _CountedSteps(raw, path, most_described)


class _CountedSteps(io.BufferedReader):
    """A file of torch's older format: its list of contents is read step by step, its tensors in one piece each."""

    def __init__(self, raw: io.RawIOBase, path: Path, most: int) -> None:
        super().__init__(raw)
        self._path, self._most, self._steps = path, most, 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file; refuses more steps than a list of contents can have."""
        if size == 1:
            self._steps += 1
            if self._steps > self._most:
                _require(self._path, "steps of its list of contents", self._steps, self._most)
        return super().read(size)


def _require(path: Path, what: str, got: int, most: int) -> None:
    if got > most:
        message = (
            f"Expected a weights file that unpacks to at most {most:,} {what}, which a checkpoint of this model never "
            f"exceeds, got {got:,} or more in '{path}'. Save the weights alone: `torch.save(model.state_dict(), path)`."
        )
        raise SourceError(message)
