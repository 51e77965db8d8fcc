"""What a pass takes of every batch: moments of the profiles and, where asked for, their upper tail, and exemplars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.filters import FilterIndex
from captum_paramsal.reference.exemplar_stream import BatchPeaks, ExemplarStream
from captum_paramsal.reference.exemplar_table import ExemplarTable
from captum_paramsal.reference.process_group import ProcessGroup
from captum_paramsal.stats import Moments, TailStream, UpperTail

CHUNK_NUMBERS = 1 << 20
"""Numbers that a process sends at once."""


class Statistics:
    """Moments of the profiles of all processes, and tail and exemplars of this one's own.

    Args:
        tail: Stream of the largest values; None for none.
        exemplars: Stream of the images in which filters are most active; None for none.
    """

    def __init__(self, tail: TailStream | None, exemplars: ExemplarStream | None = None) -> None:
        self.moments: Moments | None = None
        self._tail = tail
        self.exemplars = exemplars
        self.whole = True
        """Whether all hold the same rows: False if an interrupt came between them."""

    @property
    def count(self) -> int:
        """Rows taken in, those of other processes included."""
        return 0 if self.moments is None else self.moments.count

    def add(self, moments: Sequence[Moments], rows: Tensor | None = None, peaks: BatchPeaks | None = None) -> None:
        """Take a turn in.

        Args:
            moments: Of the batches of all processes, in their order.
            rows: Profiles of this process's batch; None where it has none.
            peaks: What was seen of that batch.
        """
        self.whole = False
        for part in moments:
            self.moments = part if self.moments is None else self.moments.merge(part)
        if self._tail is not None and rows is not None:
            self._tail.add(rows)
        if self.exemplars is not None and peaks is not None:
            self.exemplars.add(peaks)
        self.whole = True

    def gathered(self, group: ProcessGroup) -> tuple[Moments | None, UpperTail | None]:
        """Moments and tail over the rows of all processes, the same in each of them; this object ends here."""
        moments = self.moments
        if moments is None or self._tail is None:
            return moments, None
        ours = self._tail.tail() if self._tail.count else None
        return moments, ours if group.size == 1 else self._merged_tail(ours, len(moments.mean), self._tail, group)

    def _merged_tail(self, ours: UpperTail | None, filters: int, stream: TailStream, group: ProcessGroup) -> UpperTail:
        """The largest values of all processes, some filters at a time, written over this one's own where they fit."""
        facts = [
            fact
            for fact in group.gather(None if ours is None else (ours.count, ours.values.shape[1], ours.values.dtype))
            if fact
        ]
        width, dtype = max(fact[1] for fact in facts), facts[0][2]
        kept = min(stream.capacity, sum(fact[1] for fact in facts))
        values = torch.empty(filters, 0, dtype=dtype) if ours is None else ours.values
        floor = torch.full((filters,), -torch.inf, dtype=dtype) if ours is None else ours.floor
        merged = values if values.shape[1] == kept else values.new_empty(filters, kept)
        step = max(1, CHUNK_NUMBERS // (width * group.size))
        for start in range(0, filters, step):
            rows = slice(start, start + step)
            padded = torch.nn.functional.pad(values[rows], (0, width - values.shape[1]), value=-torch.inf)
            merged[rows] = torch.cat(group.gather_rows(padded), dim=1).topk(kept, dim=1).values
        floors = torch.stack(group.gather_rows(floor)).amax(dim=0)
        return UpperTail.joined(stream.fraction, sum(fact[0] for fact in facts), stream.total, merged, floors)

    def gathered_exemplars(self, filters: FilterIndex, group: ProcessGroup) -> ExemplarTable | None:
        """Exemplars over the rows of all processes, the same in each of them."""
        return None if self.exemplars is None else self.exemplars.gathered(filters, group)

    def state_dict(self) -> dict[str, Any]:
        """Everything to resume from later."""
        return {
            "moments": None if self.moments is None else vars(self.moments),
            "tail": None if self._tail is None else self._tail.state_dict(),
            "exemplars": None if self.exemplars is None else self.exemplars.state_dict(),
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> Statistics:
        """The statistics that :meth:`state_dict` was taken of."""
        tail, exemplars = state["tail"], state.get("exemplars")
        statistics = cls(
            None if tail is None else TailStream.from_state_dict(tail),
            None if exemplars is None else ExemplarStream.from_state_dict(exemplars),
        )
        statistics.moments = None if state["moments"] is None else Moments(**state["moments"])
        return statistics
