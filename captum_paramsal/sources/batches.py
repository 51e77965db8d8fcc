"""From labelled images to what a model takes: the one way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import torch
from torch import nn
from tqdm import tqdm

from captum_paramsal.reference import NumberedBatch
from captum_paramsal.sources.source import ImageSource, SourceBatch


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
        for batch in self.read():
            names = [self.images.items[position].name for position in batch.positions]
            yield NumberedBatch((batch.inputs, batch.labels), batch.positions, names)

    @property
    def wanted(self) -> Sequence[int]:
        """Positions of the images to read."""
        return range(len(self.images.items)) if self.positions is None else self.positions

    def at(self, positions: Sequence[int]) -> SourceBatches:
        """The same for other positions."""
        return replace(self, positions=positions)

    def share(self, rank: int, size: int) -> Iterator[NumberedBatch]:
        """Every ``size``-th batch from number ``rank`` on, reading no image of the others."""
        starts = range(rank * self.batch_size, len(self.wanted), size * self.batch_size)
        return iter(self.at([place for start in starts for place in self.wanted[start : start + self.batch_size]]))

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
