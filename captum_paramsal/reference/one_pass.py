"""The pass that a reference is made of."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from captum_paramsal.errors import CheckpointError, InputError, ParamsalError
from captum_paramsal.files import Checkpoint
from captum_paramsal.functional import fused_products
from captum_paramsal.profiles import FilterProfile
from captum_paramsal.reference.data_batches import LoaderItem, batch_digest, own_numbered, total_of
from captum_paramsal.reference.exemplar_stream import BatchPeaks, ExemplarStream
from captum_paramsal.reference.exemplar_table import ExemplarTable
from captum_paramsal.reference.process_group import ProcessGroup
from captum_paramsal.reference.statistics import Statistics
from captum_paramsal.stats import Moments, TailStream, UpperTail

LONG_PASS = 4096
"""Images from which on the seconds of compiling the fused kernels are won back."""


@dataclass(frozen=True)
class ReferencePass:
    """Score every image of a reference set and keep the statistics.

    Attributes:
        profile: What scores them.
        run: What makes this pass this one and no other: weights, filters, loss.
        tail: Share of the images in the upper tail; None for no tail.
        exemplars: Images that are kept of each filter, where it is most active; None for none.
        total: Images in all; found out from the batches where None.
        internal_batch_size: Images in one forward and backward pass.
        checkpoint: File to resume from; one for each process of a group.
        show_progress: Show a progress bar, in the first process of a group.
    """

    profile: FilterProfile
    run: dict[str, Any]
    tail: float | None = None
    exemplars: int | None = None
    total: int | None = None
    internal_batch_size: int | None = None
    checkpoint: str | os.PathLike[str] | None = None
    show_progress: bool = True

    def over(self, batches: Iterable[Any]) -> tuple[Moments, UpperTail | None, ExemplarTable | None]:
        """Moments, upper tail and exemplars of every filter; in a group, over the batches of all processes.

        Raises:
            InputError: Fewer than two images, images that cannot be scored, or a stream of unknown length for a tail.
            CheckpointError: A checkpoint that is damaged, cannot be written, or belongs to another run.
            GroupError: Another process of the group failed or is gone.
        """
        group = ProcessGroup.current()
        total = total_of(batches, self.profile.model) if self.total is None else self.total
        exemplars = None if self.exemplars is None else ExemplarStream(self.exemplars)
        statistics = Statistics(self._stream(total), exemplars)
        group.require_same(self._identity(total))
        statistics = self._share(batches, total, statistics, group)
        moments, tail = statistics.gathered(group)
        if moments is None or moments.count < 2:
            message = f"Expected a reference set of at least two images, got {0 if moments is None else moments.count}."
            raise InputError(message)
        if tail is not None:
            tail.warn_if_raised()
        return moments, tail, statistics.gathered_exemplars(self.profile.filters, group)

    def _identity(self, total: int | None) -> dict[str, Any]:
        """What makes this pass this one, with what it keeps."""
        return self.run | {"tail": self.tail, "total": total, "exemplars": self.exemplars}

    def _stream(self, total: int | None) -> TailStream | None:
        if self.tail is None:
            return None
        if total is None:
            message = (
                "Expected `total`, the number of images in all, got none: the batches do not tell it, and the upper "
                "tail keeps a share of it. Give `total=`, or `tail=None` for means and standard deviations alone."
            )
            raise InputError(message)
        return TailStream(self.tail, total)

    def _share(self, batches: Iterable[Any], total: int | None, fresh: Statistics, group: ProcessGroup) -> Statistics:
        """The statistics of this process's batches, with the moments of all."""
        with group.finishing("checkpoints to read"):
            trail = _Trail(self._checkpoint(total, group), fresh)
        known = trail.join(group)
        expected = None if total is None else -(-total // group.size)
        scored: list[tuple[Tensor, BatchPeaks | None]] = []

        def score(numbered: tuple[int, Any]) -> Moments | None:
            number, raw = numbered
            turn = number // group.size
            with _named(number):
                batch = LoaderItem.of(raw, self.profile.model)
                bar.update(len(batch))
                if trail.passed(batch, turn):
                    # As in the run that was interrupted, the first batches decide how layers are scored.
                    self.profile.prepare(batch.inputs, batch.target, batch.extra)
                    return None
                rows, peaks = self._scored(trail.statistics.exemplars, batch, number)
            scored.append((rows, peaks))
            # Where another process had come further, its moments have those of this batch.
            return Moments.of(rows) if turn >= known else None

        with (
            fused_products(enabled=(total or 0) >= LONG_PASS),
            tqdm(total=expected, desc="reference", unit="img", disable=not group.shows(self.show_progress)) as bar,
            trail.kept(),
            # At once, also after an error, whose traceback would keep what reads ahead.
            closing(own_numbered(batches, group)) as own,
        ):
            turn = -1
            for turn, moments in enumerate(group.turns(own, score, "reference set")):
                with _named(turn * group.size + group.rank):
                    trail.go_on(turn, moments, scored)
                    self._require_told(trail.statistics.count, total)
            with group.finishing("reference set"):
                trail.require_all_passed(turn + 1)
        return trail.statistics

    def _require_told(self, images: int, total: int | None) -> None:
        """Stop where a loader said less than there is, since too few values would be kept of the tails.

        Raises:
            InputError: More images than the batches told.
        """
        if self.tail is not None and self.total is None and total is not None and images > total:
            message = (
                f"Expected the {total} images that the loader tells, got {images} so far: its batches hold more than "
                "it knows of. Give `total=`, the number of images in all."
            )
            raise InputError(message)

    def _scored(
        self, exemplars: ExemplarStream | None, batch: LoaderItem, number: int
    ) -> tuple[Tensor, BatchPeaks | None]:
        given = batch.inputs, batch.target, batch.extra, self.internal_batch_size
        if exemplars is None:
            return self.profile(*given), None
        rows, parts = self.profile.with_peaks(exemplars.outputs, *given)
        return rows, BatchPeaks(parts, batch, number)

    def _checkpoint(self, total: int | None, group: ProcessGroup) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        process = {"internal_batch_size": self.internal_batch_size, "process": f"{group.rank} of {group.size}"}
        return Checkpoint(group.own_file(Path(self.checkpoint)), self._identity(total) | process)


class _Trail:
    """How far a share has come, on disk where a checkpoint is given."""

    def __init__(self, checkpoint: Checkpoint | None, fresh: Statistics) -> None:
        self._checkpoint = checkpoint
        state = None if checkpoint is None else checkpoint.load()
        self.statistics = fresh if state is None else Statistics.from_state_dict(state["statistics"])
        self._done = 0 if state is None else int(state["batches"])
        self._expected = "" if state is None else str(state["digest"])
        self._before = self._done
        self._digest = self._coming = ""

    def passed(self, batch: LoaderItem, number: int) -> bool:
        """Whether a batch was taken in before the pass was interrupted.

        Raises:
            CheckpointError: The batches up to here are not those that were.
        """
        if self._checkpoint is None:
            return False
        self._coming = batch_digest(batch, self._digest)
        if number >= self._before:
            return False
        self._digest = self._coming
        if number == self._before - 1 and self._digest != self._expected:
            self._refuse("batches that are not those of the interrupted run, or come in another order")
        return True

    def join(self, group: ProcessGroup) -> int:
        """Take the moments of the process that came furthest, and say how many of its turns are in them."""
        shares: list[tuple[int, Moments | None]] = group.gather((self._before, self.statistics.moments))
        known, self.statistics.moments = max(shares, key=lambda share: share[0])
        return known

    def go_on(
        self, number: int, moments: Sequence[Moments | None], scored: list[tuple[Tensor, BatchPeaks | None]]
    ) -> None:
        """Take in a turn: the moments of all processes, and what was scored in this one, if anything was."""
        if number < self._before:
            return
        rows, peaks = scored.pop() if scored else (None, None)
        self.statistics.add([part for part in moments if part is not None], rows, peaks)
        self._done += 1
        self._digest = self._coming
        if self._checkpoint is not None and self._checkpoint.is_due():
            self._write()

    def require_all_passed(self, number: int) -> None:
        """Make sure that the batches did not end before the place that the interrupted run had come to."""
        if number < self._before:
            self._refuse(f"{number} batches, while {self._before} were taken in")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write what is there at the end, also after an error or an interrupt."""
        try:
            yield
        finally:
            if self._checkpoint is not None and self.statistics.whole and self._done > self._before:
                self._write()

    def _write(self) -> None:
        state = {"batches": self._done, "digest": self._digest, "statistics": self.statistics.state_dict()}
        if self._checkpoint is not None:
            self._checkpoint.save(state)

    def _refuse(self, got: str) -> None:
        path = "" if self._checkpoint is None else str(self._checkpoint.path)
        message = (
            f"Expected the batches that {path!r} was written for, got {got}. A loader that shuffles or augments at "
            "random cannot be resumed; give the same batches, or delete the file to begin again."
        )
        raise CheckpointError(message)


@contextmanager
def _named(number: int) -> Iterator[None]:
    """Say which batch an error is about."""
    try:
        yield
    except ParamsalError as error:
        if not isinstance(error, CheckpointError):
            error.args = (f"Batch {number} of the reference set: {error}",)
        raise
