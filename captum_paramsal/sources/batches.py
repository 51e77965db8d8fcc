"""From labelled images to what a model takes: the one way."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TypeVar

import torch
from torch import nn
from tqdm import tqdm

from captum_paramsal.errors import SourceError
from captum_paramsal.reference import NumberedBatch, ProcessGroup
from captum_paramsal.sources.source import ImageSource, Skipped, SourceBatch

_Made = TypeVar("_Made")


@dataclass(frozen=True, eq=False)
class SourceBatches:
    """Inputs and labels of labelled images, batch by batch, in the model's own precision and on its device.

    They can be gone through again and again, like a data loader without workers: ``for inputs, labels in batches``.

    Attributes:
        images: Labelled images; those that cannot be read are left out.
        model: Whose precision and device the inputs take.
        positions: Which images, in this order; all if None.
        batch_size: Images per batch.
        device: Where the model is, if it has no parameters to tell.
        delivered: Positions that the last pass has read so far, in order.
    """

    images: ImageSource
    model: nn.Module
    positions: Sequence[int] | None = None
    batch_size: int = 32
    device: torch.device | None = None
    delivered: list[int] = field(default_factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return ceil(len(self.wanted) / self.batch_size)

    def __iter__(self) -> Iterator[NumberedBatch]:
        """Inputs and labels, with positions and names of the images for who wants them."""
        return map(self._numbered, self.read())

    @property
    def wanted(self) -> Sequence[int]:
        """Positions of the images to read."""
        return range(len(self.images.items)) if self.positions is None else self.positions

    def at(self, positions: Sequence[int]) -> SourceBatches:
        """The same for other positions."""
        return replace(self, positions=positions)

    def share(self, rank: int, size: int) -> Iterator[NumberedBatch | None]:
        """Every ``size``-th batch from number ``rank`` on, reading no image of the others.

        None stands for a batch of which no image can be read.
        """
        return (None if batch is None else self._numbered(batch) for batch in self._share(rank, size))

    def made(
        self, make: Callable[[SourceBatch], _Made], what: str, *, show_progress: bool = False
    ) -> Iterator[tuple[tuple[int, ...], _Made]]:
        """What is made of each batch, with the positions of its images, in their order.

        In a ``torch.distributed`` group each process makes every ``size``-th, and all get those of all.

        Args:
            make: Makes a result, on the CPU, of a batch.
            what: The work, for the progress bar and messages.
            show_progress: Show a progress bar, in the first process.

        Raises:
            GroupError: Another process stopped or is gone.
        """
        group = ProcessGroup.current()
        known: list[int] = []
        with (
            tqdm(total=len(self.wanted), desc=what, unit="img", disable=not group.shows(show_progress)) as bar,
            # At once, also after an error, whose traceback would keep what reads ahead.
            closing(self._share(group.rank, group.size)) as own,
        ):
            for positions, result in group.in_order(own, lambda batch: (batch.positions, make(batch)), what):
                yield positions, result
                known += positions
                bar.update(len(positions))
        self.delivered[:] = known

    def join_delivered(self) -> None:
        """Let ``delivered`` be what all processes of a group have read in the last pass, in order."""
        group = ProcessGroup.current()
        if group.size > 1:
            read = {position for share in group.gather(self.delivered) for position in share}
            self.delivered[:] = [position for position in self.wanted if position in read]

    def _share(self, rank: int, size: int) -> Generator[SourceBatch | None, None, None]:
        """Batches of a share; None for one of which no image can be read."""
        if size == 1:
            yield from self.read()
            return
        starts = range(rank * self.batch_size, len(self.wanted), size * self.batch_size)
        chunks = [self.wanted[start : start + self.batch_size] for start in starts]
        own = self.at([position for chunk in chunks for position in chunk])
        batches, batch = _readable(own), None
        self.delivered.clear()
        for chunk in chunks:
            batch = next(batches, None) if batch is None else batch
            if batch is None or batch.positions[0] not in chunk:
                yield None
                continue
            self.delivered.extend(batch.positions)
            yield batch
            batch = None

    def _numbered(self, batch: SourceBatch) -> NumberedBatch:
        names = [self.images.items[position].name for position in batch.positions]
        return NumberedBatch((batch.inputs, batch.labels), batch.positions, names)

    def read(self, description: str = "", *, show_progress: bool = False) -> Iterator[SourceBatch]:
        """The batches with the positions of their images.

        Args:
            description: What the progress bar says.
            show_progress: Show one.
        """
        parameters = [*self.model.parameters(), *self.model.buffers()]
        precision = next((p.dtype for p in self.model.parameters() if p.is_floating_point()), None)
        device = self.device or next((tensor.device for tensor in parameters), None)
        self.delivered.clear()
        # A source of files takes an empty list for a folder that nothing can be read from.
        batches = self.images.batches(self.batch_size, self.wanted) if len(self.wanted) else ()
        with tqdm(total=len(self.wanted), desc=description, unit="img", disable=not show_progress) as bar:
            for batch in batches:
                self.delivered.extend(batch.positions)
                yield SourceBatch(batch.positions, batch.inputs.to(device, precision), batch.labels.to(device))
                bar.update(len(batch.positions))


def _readable(share: SourceBatches) -> Iterator[SourceBatch]:
    """Batches of a share; none where the source refuses, since no image of the share can be read."""
    try:
        yield from share.read()
    except SourceError:
        if share.delivered:
            raise


def skipped_by_all(images: ImageSource) -> tuple[Skipped, ...]:
    """What a source has left out so far, in all processes of a group together.

    Args:
        images: A source; each process has one of its own over the same images.
    """
    group = ProcessGroup.current()
    if group.size == 1:
        return tuple(images.skipped)
    places = {item.name: place for place, item in enumerate(images.items)}
    every = dict.fromkeys(skip for share in group.gather(list(images.skipped)) for skip in share)
    # As one process has it: what its labels leave out, then what cannot be read, in the order of the images.
    return tuple(sorted(every, key=lambda skip: places.get(skip.name, -1)))
