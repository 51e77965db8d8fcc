"""What a pass takes of every profile: moments and, where asked for, the upper tail."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_paramsal.reference.process_group import ProcessGroup
from captum_paramsal.stats import Moments, TailStream, UpperTail

CHUNK_NUMBERS = 1 << 20
"""Numbers that a process sends at once."""


class Statistics:
    """Statistics of a stream of profiles, ``(N, F)`` each.

    Args:
        tail: Stream of the largest values; None for moments alone.
    """

    def __init__(self, tail: TailStream | None) -> None:
        self.moments: Moments | None = None
        self._tail = tail
        self.whole = True
        """Whether moments and tail hold the same rows: False if an interrupt came between the two."""

    @property
    def count(self) -> int:
        """Rows taken in."""
        return 0 if self.moments is None else self.moments.count

    def add(self, rows: Tensor) -> None:
        """Take rows in."""
        new = Moments.of(rows)
        self.whole = False
        self.moments = new if self.moments is None else self.moments.merge(new)
        if self._tail is not None:
            self._tail.add(rows)
        self.whole = True

    def gathered(self, group: ProcessGroup) -> tuple[Moments | None, UpperTail | None]:
        """Moments and tail over the rows of all processes, the same in each of them; this object ends here."""
        shares = [share for share in group.gather(self.moments) if share is not None]
        moments = shares[0] if shares else None
        for share in shares[1:]:
            moments = share.merge(moments) if moments is None else moments.merge(share)
        if moments is None or self._tail is None:
            return moments, None
        ours = self._tail.tail() if self.count else None
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

    def state_dict(self) -> dict[str, Any]:
        """Everything to resume from later."""
        moments = None if self.moments is None else vars(self.moments)
        return {"moments": moments, "tail": None if self._tail is None else self._tail.state_dict()}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> Statistics:
        """The statistics that :meth:`state_dict` was taken of."""
        statistics = cls(None if state["tail"] is None else TailStream.from_state_dict(state["tail"]))
        statistics.moments = None if state["moments"] is None else Moments(**state["moments"])
        return statistics
