"""The largest values of many quantities, kept exactly while their rows stream by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.errors import IncompleteTailWarning, InputError, warn_caller

LARGEST_FRACTION = 0.5
"""Beyond the median there is no upper tail to speak of."""

STREAMED_NUMBERS = 1 << 20
"""Numbers that are sorted together: the memory besides the values that are kept."""

SLACK = 8
"""One part in so many of the kept values is the room for new ones."""


def kept_of(fraction: float, count: int) -> int:
    """⌈fraction · count⌉, the fraction taken as it is written: 0.1 of 30 is 3.

    >>> kept_of(0.1, 30), kept_of(0.1, 31)
    (3, 4)
    """
    return ceil(Fraction(str(fraction)) * count)


@dataclass(frozen=True, eq=False)
class UpperTail:
    """The largest values of F quantities over ``count`` rows.

    The thresholds are exact if at least ``⌈fraction · count⌉`` values were kept of each quantity. A part of a larger
    set must keep ``⌈fraction · total⌉`` for that, since any of its values may be among the largest of the whole.

    Attributes:
        fraction: Share of the rows that belong to the tail, in (0, 0.5].
        count: Rows seen, N.
        total: Rows of the whole that these are a part of; at most ``⌈fraction · total⌉`` values are kept.
        values: The values, ``(F, K)``, each row falling, -inf behind the last one of a row.
        floor: ``(F,)``: every value above it is among ``values``; -inf where nothing was dropped.
    """

    fraction: float
    count: int
    total: int
    values: Tensor
    floor: Tensor

    @classmethod
    def of(cls, rows: Tensor, fraction: float, total: int | None = None) -> UpperTail:
        """Upper tail of rows ``(N, F)``.

        Raises:
            InputError: No rows, values that are not finite, or a fraction outside (0, 0.5].

        >>> tail = UpperTail.of(torch.arange(20.0)[:, None], 0.1)
        >>> tail.threshold, tail.excesses
        (tensor([18.]), tensor([[1., 0.]], dtype=torch.float64))
        """
        if rows.ndim != 2 or not len(rows):
            message = f"Expected rows of shape (N, F), at least one, got {tuple(rows.shape)}."
            raise InputError(message)
        stream = TailStream(fraction, len(rows) if total is None else total)
        stream.add(rows)
        return stream.tail()

    @property
    def capacity(self) -> int:
        """Values kept of each quantity, at most."""
        return kept_of(self.fraction, self.total)

    @property
    def threshold(self) -> Tensor:
        """The ``⌈fraction · count⌉``-th largest value of each quantity, or the floor where that is higher, ``(F,)``."""
        place = kept_of(self.fraction, self.count) - 1
        return self.values[:, place].maximum(self.floor) if place < self.values.shape[1] else self.floor.clone()

    @property
    def raised(self) -> Tensor:
        """Quantities whose threshold lies higher than the fraction asks for, since a part kept too little, ``(F,)``."""
        place = kept_of(self.fraction, self.count) - 1
        if place >= self.values.shape[1]:
            return torch.ones(len(self.values), dtype=torch.bool)
        return self.values[:, place] < self.floor

    @property
    def exceedances(self) -> Tensor:
        """Values strictly above the threshold, ``(F,)`` int64."""
        return (self.values > self.threshold[:, None]).sum(dim=1)

    @property
    def excesses(self) -> Tensor:
        """How far values lie above the threshold, ``(F, K)`` float64, each row falling; 0 for those that do not."""
        return (self.values.double() - self.threshold.double()[:, None]).clamp(min=0)

    def merge(self, other: UpperTail) -> UpperTail:
        """Upper tail of both sets of rows together; the order of merging does not matter.

        Exact where both parts kept ``⌈fraction · total⌉`` values of the same total. Parts that kept less are complete
        only above their floors: the threshold of the whole is then the higher one of them where it must be.

        Raises:
            InputError: Another fraction or another number of quantities.

        Warns:
            IncompleteTailWarning: Thresholds had to be raised.
        """
        if (self.fraction, len(self.values)) != (other.fraction, len(other.values)):
            message = (
                f"Expected a tail of {self.fraction} of the rows for {len(self.values)} quantities, "
                f"got one of {other.fraction} for {len(other.values)}."
            )
            raise InputError(message)
        count = self.count + other.count
        # Parts of one whole share its total; for others nothing that they kept is dropped.
        total = self.total if self.total == other.total >= count else self.total + other.total
        merged = merged_values((self, other), kept_of(self.fraction, total))
        whole = UpperTail.joined(self.fraction, count, total, merged, self.floor.maximum(other.floor))
        whole.warn_if_raised()
        return whole

    @classmethod
    def joined(cls, fraction: float, count: int, total: int, values: Tensor, floor: Tensor) -> UpperTail:
        """Upper tail from the largest values of all parts, ``(F, K)`` falling, and the highest of their floors.

        What lies below the floor is dropped: not all of it is there, and which part is would depend on the order.
        """
        if (floor > -torch.inf).any():
            values = values.masked_fill(values < floor[:, None], -torch.inf)
        if values.shape[1] == kept_of(fraction, total) < count:
            floor = floor.maximum(values[:, -1])
        return cls(fraction, count, total, values, floor)

    def warn_if_raised(self) -> None:
        """Say so if thresholds had to be raised."""
        raised = int(self.raised.sum())
        if raised:
            least = int(self.exceedances[self.raised].min())
            message = (
                f"The thresholds of {raised} of {len(self.values)} filters were raised to where every part of the "
                f"reference is complete: instead of {kept_of(self.fraction, self.count)}, as few as {least} values of "
                f"{self.count} lie above. Fit the parts with total={self.count}, so that each keeps enough."
            )
            warn_caller(message, IncompleteTailWarning)


class TailStream:
    """Keeps the largest values while rows stream by, in about 1.13 times the memory of what is kept.

    Args:
        fraction: Share of the rows that belong to the tail, in (0, 0.5].
        total: Rows of the whole, known beforehand.

    Raises:
        InputError: A fraction outside (0, 0.5], or a total below 1.
    """

    def __init__(self, fraction: float, total: int) -> None:
        require_fraction(fraction)
        if total < 1:
            message = f"Expected `total`, the number of images in all, to be at least 1, got {total}."
            raise InputError(message)
        self.fraction = fraction
        self.total = total
        self.count = 0
        self._used = 0
        self._buffer: Tensor | None = None

    @property
    def capacity(self) -> int:
        """Values kept of each quantity, at most."""
        return kept_of(self.fraction, self.total)

    def add(self, rows: Tensor) -> None:
        """Take rows ``(N, F)`` in.

        Raises:
            InputError: Values that are not finite.
        """
        rows = rows.detach().cpu()
        bad = (~torch.isfinite(rows)).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            message = f"Expected finite values, got {rows[row, column].item()} in row {row} for quantity {column}."
            raise InputError(message)
        columns = rows.T
        buffer = self._room(columns)
        start = 0
        while start < columns.shape[1]:
            # The buffer has room for more than the tail, so that sorting is rare: once for many batches.
            if self._used == buffer.shape[1]:
                self._compact()
            part = columns[:, start : start + buffer.shape[1] - self._used]
            buffer[:, self._used : self._used + part.shape[1]] = part
            self._used += part.shape[1]
            start += part.shape[1]
        self.count += columns.shape[1]

    def tail(self) -> UpperTail:
        """What was kept; the stream ends here and its memory goes over to the result."""
        if self._buffer is None:
            message = "Expected a stream of at least one row, got none."
            raise InputError(message)
        self._compact()
        values, self._buffer = _closed_up(self._buffer, self._used), None
        for rows in _chunks(values):
            rows.copy_(rows.sort(dim=1, descending=True).values)
        # Nothing above the smallest kept value was dropped; a merge needs to know up to where the part is complete.
        floor = values[:, -1].clone() if self._used < self.count else torch.full_like(values[:, 0], -torch.inf)
        return UpperTail(self.fraction, self.count, self.total, values, floor)

    def state_dict(self) -> dict[str, Any]:
        """Everything to resume from later, without a copy of the values."""
        return {
            "fraction": self.fraction,
            "total": self.total,
            "count": self.count,
            "used": self._used,
            "buffer": self._buffer,
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> TailStream:
        """The stream that :meth:`state_dict` was taken of."""
        stream = cls(state["fraction"], state["total"])
        stream.count, stream._used = state["count"], state["used"]
        # Its own memory: what comes from a file cannot be made smaller later.
        stream._buffer = None if state["buffer"] is None else state["buffer"].clone()
        return stream

    def _room(self, columns: Tensor) -> Tensor:
        if self._buffer is None:
            width = min(self.capacity + max(self.capacity // SLACK, 1), self.total + 1)
            self._buffer = torch.empty(len(columns), width, dtype=columns.dtype)
        if len(columns) != len(self._buffer):
            message = f"Expected rows of {len(self._buffer)} quantities like those before, got {len(columns)}."
            raise InputError(message)
        return self._buffer

    def _compact(self) -> None:
        """Keep the largest values at the front of the buffer."""
        if self._buffer is None or self._used <= self.capacity:
            return
        for rows in _chunks(self._buffer):
            rows[:, : self.capacity] = rows[:, : self._used].topk(self.capacity, dim=1, sorted=False).values
        self._used = self.capacity


def require_fraction(fraction: float) -> None:
    """Refuse a tail that is none.

    Raises:
        InputError: A fraction outside (0, 0.5].
    """
    if not 0 < fraction <= LARGEST_FRACTION:
        message = (
            f"Expected `tail`, the share of the images in the upper tail, in (0, {LARGEST_FRACTION}], got {fraction}."
        )
        raise InputError(message)


def merged_values(parts: tuple[UpperTail, ...], capacity: int) -> Tensor:
    """The largest values of several parts, each row falling, ``(F, K)`` with K at most ``capacity``."""
    width = min(capacity, sum(part.values.shape[1] for part in parts))
    first = parts[0].values
    merged = first.new_empty(len(first), width)
    for rows, *pieces in zip(_chunks(merged), *(_like_chunks(part.values, merged) for part in parts), strict=True):
        rows.copy_(torch.cat(pieces, dim=1).topk(width, dim=1).values)
    return merged


def _chunks(values: Tensor) -> Iterator[Tensor]:
    return iter(values.split(max(1, STREAMED_NUMBERS // values.shape[1])))


def _like_chunks(values: Tensor, other: Tensor) -> Iterator[Tensor]:
    return iter(values.split(max(1, STREAMED_NUMBERS // other.shape[1])))


def _closed_up(buffer: Tensor, width: int) -> Tensor:
    """The first columns of a buffer moved together at its front, without a second block of memory."""
    flat = buffer.view(-1)
    for number, row in enumerate(buffer):
        # Rows move down one after the other, so none is overwritten before it has moved.
        flat[number * width : (number + 1) * width] = row[:width].clone()
    return flat[: len(buffer) * width].view(-1, width)
