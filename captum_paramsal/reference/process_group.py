"""The processes that a pass is spread over: those of ``torch.distributed``, or this one alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, distributed

from captum_paramsal.errors import GroupError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Turn:
    """What a process says when it is through with an item."""

    has: Literal["result", "nothing", "ended"]
    result: Any = None
    error: str = ""


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

    def shows(self, wanted: bool) -> bool:  # noqa: FBT001 -- the answer is its only matter
        """Whether this process shows progress, where that is wanted: the first one does."""
        return wanted and self.rank == 0

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

    def turns(
        self, own: Iterable[_Item | None], make: Callable[[_Item], _Result], what: str
    ) -> Iterator[list[_Result]]:
        """What is made of the items of all processes, one of each at a time, the same in each of them.

        No turn begins before all are through the last one: an error in one process ends all of them within a turn, as
        does a process that is gone.

        Args:
            own: This process's items: of all of them every ``size``-th one, from number ``rank`` on. None stands for
                one of which there is nothing to make.
            make: Makes a small result, on the CPU, of one item.
            what: The work, for messages.

        Raises:
            GroupError: Another process stopped or is gone.
        """
        for turn in self._worked(own, make):
            turns = self._answers(turn, what)
            if all(each.has == "ended" for each in turns):
                return
            yield [each.result for each in turns if each.has == "result"]

    def in_order(self, own: Iterable[_Item | None], make: Callable[[_Item], _Result], what: str) -> Iterator[_Result]:
        """What is made of the items of all processes, in the order of the items, the same in each of them.

        As :meth:`turns`, for large results, of which never more than two are in memory.

        Args:
            own: This process's items.
            make: Makes a result, on the CPU, of one item.
            what: The work, for messages.

        Raises:
            GroupError: Another process stopped or is gone.
        """
        for turn in self._worked(own, make):
            turns = self._answers(replace(turn, result=None), what)
            for rank, each in enumerate(turns):
                if each.has == "result":
                    yield self.broadcast(turn.result, rank)
            if all(each.has == "ended" for each in turns):
                return

    def _worked(self, own: Iterable[_Item | None], make: Callable[[_Item], _Result]) -> Iterator[_Turn]:
        """This process's part of each turn; an error is told to all others before it is raised."""
        items = iter(own)
        while True:
            try:
                turn = _Turn("ended")
                for item in items:
                    turn = _Turn("nothing") if item is None else _Turn("result", make(item))
                    break
            except Exception as error:
                self._tell(error)
                raise
            yield turn

    def _answers(self, turn: _Turn, what: str) -> list[_Turn]:
        """The parts of all processes.

        Raises:
            GroupError: One of them stopped or is gone.
        """
        turns: list[_Turn] = self.gather(turn)
        stopped = [f"process {rank} stopped with {each.error}" for rank, each in enumerate(turns) if each.error]
        if stopped:
            message = f"Expected every process to finish its share of the {what}, but {'; '.join(stopped)}"
            raise GroupError(message)
        return turns

    def own(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """Those of some items that are this process's to work on."""
        return items[self.rank :: self.size]

    def broadcast(self, value: Any, rank: int) -> Any:
        """The value of the process with this number, in all of them.

        Raises:
            GroupError: A process is gone.
        """
        if self.size == 1:
            return value
        box = [value if rank == self.rank else None]
        with _reaching_all():
            distributed.broadcast_object_list(box, src=rank, device=_device())
        return box[0]

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
            self._tell(error)
            raise
        self._answers(_Turn("ended"), what)

    def _tell(self, error: Exception) -> None:
        try:
            self.gather(_Turn("ended", error=f"{type(error).__name__}: {error}"))
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
