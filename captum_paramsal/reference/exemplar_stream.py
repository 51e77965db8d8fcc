"""Exemplars of every filter, collected while the batches of a pass stream by."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.filters import FilterIndex
from captum_paramsal.hooks import ExamplePeaks, OutputPeaks
from captum_paramsal.reference.data_batches import LoaderItem
from captum_paramsal.reference.exemplar_table import ExemplarTable, runs_of
from captum_paramsal.reference.process_group import ProcessGroup
from captum_paramsal.stats import Peaks, PeakStream, require_kept

_ROWS = 32
"""Bits for the place of an image in its batch."""

_SPARE_NAMES = 1024


@dataclass(frozen=True)
class BatchPeaks:
    """What was seen of a batch.

    Attributes:
        parts: In each of its passes.
        item: The batch.
        number: Its number among those of all processes.
    """

    parts: Sequence[ExamplePeaks]
    item: LoaderItem
    number: int


class ExemplarStream:
    """Keeps the k images in which each filter is most active, in about 100 bytes for each of them.

    Args:
        k: Images of each filter.

    Raises:
        InputError: k below 1.
    """

    def __init__(self, k: int) -> None:
        require_kept(k)
        self.k = k
        self.outputs = OutputPeaks(k, self._floor)
        """What sees the layers."""
        self._layers: dict[str, PeakStream] = {}
        self._active: dict[str, Tensor] = {}
        self._seen: Counter[str] = Counter()
        self._classes: Counter[int] = Counter()
        self._sizes: dict[int, int] = {}
        self._own_numbers: list[Tensor] = []
        self._names: dict[int, str] = {}

    def add(self, batch: BatchPeaks) -> None:
        """Take a batch in.

        Raises:
            InputError: Some batches number their images, and others do not.
        """
        rows = self._rows_of(batch)
        self._names.update(zip(rows.tolist(), batch.item.names, strict=False))
        for part in batch.parts:
            numbers = rows[part.start : part.start + len(part.labels)]
            self._classes.update(part.labels.tolist())
            for name, seen in part.layers.items():
                stream = self._layers.setdefault(name, PeakStream(len(seen.active), self.k))
                places = numbers[seen.example], seen.place, part.labels[seen.example]
                stream.add(Peaks(seen.filter, seen.value, *places))
                self._active[name] = self._active.get(name, 0) + seen.active
                self._seen[name] += len(part.labels)
        if len(self._names) > 2 * _SPARE_NAMES and len(self._names) > 2 * len(self._kept_rows()):
            self._forget_names()

    def gathered(self, filters: FilterIndex, group: ProcessGroup) -> ExemplarTable:
        """Exemplars over the batches of all processes, the same in each of them; this object ends here.

        Args:
            filters: The filters.
            group: The processes.

        Raises:
            InputError: Some processes number their images, and others do not.
            ReferenceMismatchError: Two images have one number.
        """
        shares = group.gather((self._sizes, bool(self._own_numbers)))
        sizes = {number: size for share, _ in shares for number, size in share.items()}
        if sizes and any(own for _, own in shares):
            raise InputError(_MIXED)
        starts = torch.zeros(max(sizes, default=0) + 2, dtype=torch.int64)
        for number, size in sizes.items():
            starts[number + 1] = size
        tables: list[ExemplarTable] = group.gather(self._table(filters, starts.cumsum(dim=0)))
        return functools.reduce(ExemplarTable.merge, tables)

    def state_dict(self) -> dict[str, Any]:
        """Everything to resume from later."""
        self._forget_names()
        return {
            "k": self.k,
            "layers": {name: stream.state_dict() for name, stream in self._layers.items()},
            "active": dict(self._active),
            "seen": dict(self._seen),
            "classes": dict(self._classes),
            "sizes": dict(self._sizes),
            "own_numbers": list(self._own_numbers),
            "names": dict(self._names),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> ExemplarStream:
        """The stream that :meth:`state_dict` was taken of."""
        stream = cls(state["k"])
        stream._layers = {name: PeakStream.from_state_dict(one) for name, one in state["layers"].items()}
        stream._active, stream._own_numbers = dict(state["active"]), list(state["own_numbers"])
        stream._seen, stream._classes = Counter(state["seen"]), Counter(state["classes"])
        stream._sizes, stream._names = dict(state["sizes"]), dict(state["names"])
        return stream

    def _floor(self, layer: str) -> Tensor | None:
        return self._layers[layer].floor if layer in self._layers else None

    def _rows_of(self, batch: BatchPeaks) -> Tensor:
        """Numbers of the images; for those without any, of their batch and of their place in it."""
        count, given = len(batch.item), batch.item.numbers
        if (given is None and self._own_numbers) or (given is not None and self._sizes):
            raise InputError(_MIXED)
        if given is None:
            self._sizes[batch.number] = count
            return (batch.number << _ROWS) + torch.arange(count)
        numbers = torch.as_tensor(given, dtype=torch.int64)
        self._own_numbers.append(numbers)
        return numbers

    def _table(self, filters: FilterIndex, starts: Tensor) -> ExemplarTable:
        """What this process has, with the numbers that images have among those of all processes."""
        columns = [
            stream.peaks().shifted(filters.slice(name).start)
            for name, stream in self._layers.items()
            if name in filters.counts
        ]
        peaks = Peaks.joined([Peaks.none(), *columns]).highest(self.k)
        active, seen = (torch.zeros(len(filters), dtype=torch.int64) for _ in range(2))
        for name in self._layers.keys() & filters.counts.keys():
            active[filters.slice(name)], seen[filters.slice(name)] = self._active[name], self._seen[name]
        own = [number for numbers in self._own_numbers for number in numbers.tolist()]
        numbers = torch.tensor(own, dtype=torch.int64)
        if self._sizes:
            rows = peaks.row
            peaks = Peaks(
                peaks.quantity, peaks.value, starts[rows >> _ROWS] + rows % (1 << _ROWS), peaks.place, peaks.label
            )
            numbers = torch.cat([torch.arange(size) + starts[number] for number, size in self._sizes.items()])
        self._forget_names()
        classes = dict(sorted(self._classes.items()))
        return ExemplarTable(self.k, peaks, active, seen, classes, runs_of(numbers), dict(self._names))

    def _kept_rows(self) -> set[int]:
        return {row for stream in self._layers.values() for row in stream.peaks().row.tolist()}

    def _forget_names(self) -> None:
        """Keep the names of those images alone that are exemplars."""
        if self._names:
            kept = self._kept_rows()
            self._names = {row: name for row, name in self._names.items() if row in kept}


_MIXED = (
    "Expected numbers for the images of all batches or of none, got some of both. Give every batch as a "
    "`NumberedBatch`, or none."
)
