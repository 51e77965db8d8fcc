"""What of a comparison is done already, in memory and in a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from captum_paramsal.comparison.result import Comparison, packed, unpacked
from captum_paramsal.comparison.task import PartialComparison, Task
from captum_paramsal.files import Checkpoint
from captum_paramsal.versions import versions


class Progress:
    """What is scored already, in memory and in a checkpoint."""

    def __init__(self, path: str | os.PathLike[str] | None, task: Task) -> None:
        self._run = task.identity()
        self._checkpoint = None if path is None else Checkpoint(path, self._run)
        state = None if self._checkpoint is None else self._checkpoint.load()
        self._scored: list[PartialComparison] = []
        if state is not None:
            comparison = unpacked(state["tensors"], state["content"])
            self._scored.append(PartialComparison(tuple(state["numbers"]), comparison))
        self._written = len(self._scored)

    def has(self, numbers: tuple[int, ...]) -> bool:
        """Whether these images are scored."""
        return any(set(numbers) <= set(part.numbers) for part in self._scored)

    def add(self, scored: PartialComparison) -> None:
        """Note some images, and write down how far it has come where that is due."""
        self._scored.append(scored)
        if self._checkpoint is not None and self._checkpoint.is_due():
            self._write(self._checkpoint)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write what is scored when the block ends, also by an error or an interrupt."""
        try:
            yield
        finally:
            if self._checkpoint is not None and len(self._scored) > self._written:
                self._write(self._checkpoint)

    def finished(self) -> Comparison:
        """All images in the order in which they were given."""
        joined = self._joined()
        order = torch.tensor(joined.numbers).argsort()
        return replace(joined.comparison.reordered(order), context={**self._run, "versions": versions()})

    def _write(self, checkpoint: Checkpoint) -> None:
        joined = self._joined()
        tensors, content = packed(joined.comparison)
        checkpoint.save({"numbers": list(joined.numbers), "tensors": tensors, "content": content})
        self._written = len(self._scored)

    def _joined(self) -> PartialComparison:
        numbers = tuple(number for part in self._scored for number in part.numbers)
        return PartialComparison(numbers, Comparison.joined([part.comparison for part in self._scored]))
