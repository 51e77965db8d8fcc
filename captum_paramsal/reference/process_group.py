"""The processes that a pass is spread over: those of ``torch.distributed``, or this one alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from captum_paramsal.errors import GroupError


@dataclass(frozen=True)
class ProcessGroup:
    """A process's place among those that share a pass.

    Attributes:
        rank: Number of this process, from 0.
        size: Processes in all.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> ProcessGroup:
        """The default group of ``torch.distributed`` where one is initialised, otherwise this process alone."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    def own_file(self, path: Path) -> Path:
        """The file of this process, where each writes one."""
        return path if self.size == 1 else path.with_name(f"{path.name}.{self.rank}-of-{self.size}")

    def gather(self, value: Any) -> list[Any]:
        """What every process gives, in the order of their numbers.

        Raises:
            GroupError: A process is gone.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _reaching_all():
            distributed.all_gather_object(values, value)
        return values

    def gather_rows(self, rows: Tensor) -> list[Tensor]:
        """A tensor of the same shape from every process.

        Raises:
            GroupError: A process is gone.
        """
        if self.size == 1:
            return [rows]
        ours = rows.contiguous().to(_device())
        gathered = [torch.empty_like(ours) for _ in range(self.size)]
        with _reaching_all():
            distributed.all_gather(gathered, ours)
        return [part.to(rows.device) for part in gathered]

    def require_same(self, facts: dict[str, Any]) -> None:
        """Make sure that every process works on the same thing.

        Args:
            facts: What must agree, by name.

        Raises:
            GroupError: The facts of another process differ; the message says which.
        """
        others = self.gather(facts)
        for name, value in facts.items():
            different = [rank for rank, other in enumerate(others) if other[name] != others[0][name]]
            if different:
                message = (
                    f"Expected every process of the group to have the same {name}, got {others[0][name]!r} in process "
                    f"0 and {others[different[0]][name]!r} in process {different[0]} (this is process {self.rank}, "
                    f"{value!r})."
                )
                raise GroupError(message)

    @contextmanager
    def finishing(self, what: str) -> Iterator[None]:
        """Do a share of the work, and wait for all others; an error in one process becomes one in all of them.

        Raises:
            GroupError: Another process stopped or is gone; this one's share is whole.
        """
        try:
            yield
        except Exception as error:
            self._tell(f"{type(error).__name__}: {error}")
            raise
        stopped = [f"process {rank} stopped with {error}" for rank, error in enumerate(self.gather("")) if error]
        if stopped:
            message = f"Expected every process to finish its share of the {what}, but {'; '.join(stopped)}"
            raise GroupError(message)

    def _tell(self, error: str) -> None:
        try:
            self.gather(error)
        except GroupError:
            # The error that is being raised matters more than who else is gone.
            return


@contextmanager
def _reaching_all() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        message = (
            f"Expected all processes of the group to answer, but one is gone or does not: {error}. Start them again; "
            "with `checkpoint=`, each resumes from where it was."
        )
        raise GroupError(message) from error


def _device() -> torch.device:
    if distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
