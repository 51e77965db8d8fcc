"""What of a comparison is done already, in memory and in a checkpoint."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

from captum_paramsal.comparison.result import Comparison
from captum_paramsal.comparison.task import PartialComparison, Task
from captum_paramsal.errors import CheckpointError, SourceError
from captum_paramsal.versions import versions


class Progress:
    """What is scored already, in memory and in a checkpoint."""

    def __init__(self, path: str | os.PathLike[str] | None, task: Task) -> None:
        self._path = None if path is None else Path(path)
        self._run = task.identity()
        self._scored: list[PartialComparison] = []
        if self._path is not None and self._path.exists():
            self._scored.append(self._resumed(self._path))

    def has(self, numbers: tuple[int, ...]) -> bool:
        """Whether these images are scored."""
        return any(set(numbers) <= set(one.numbers) for one in self._scored)

    def add(self, scored: PartialComparison) -> None:
        """Note some images, and write down how far it has come."""
        self._scored.append(scored)
        if self._path is not None:
            joined = self._joined()
            context = {"run": self._run, "numbers": list(joined.numbers)}
            replace(joined.comparison, context=context).save(self._path)

    def finished(self) -> Comparison:
        """All images in the order in which they were given."""
        joined = self._joined()
        order = torch.tensor(joined.numbers).argsort()
        return replace(joined.comparison.reordered(order), context={**self._run, "versions": versions()})

    def _joined(self) -> PartialComparison:
        numbers = tuple(number for one in self._scored for number in one.numbers)
        return PartialComparison(numbers, Comparison.joined([one.comparison for one in self._scored]))

    def _resumed(self, path: Path) -> PartialComparison:
        try:
            comparison = Comparison.load(path)
        except SourceError as error:
            message = f"Expected a checkpoint of a comparison, but {error} Delete it to begin again."
            raise CheckpointError(message) from error
        if comparison.context.get("run") != self._run:
            found = comparison.context.get("run", {})
            other = ", ".join(name for name, value in self._run.items() if found.get(name) != value)
            message = f"Expected a checkpoint of this comparison in '{path}', got one with other {other}. Delete it."
            raise CheckpointError(message)
        return PartialComparison(tuple(comparison.context["numbers"]), comparison)
