"""The k highest values of many quantities with the rows that they came from, kept exactly while the rows stream by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_paramsal.errors import InputError

PLACE_DIMENSIONS = 3
"""Dimensions that a place may have."""


@dataclass(frozen=True, eq=False)
class Peaks:
    """Values of some quantities, each with its row, place and label: M entries.

    Attributes:
        quantity: Number of the quantity, ``(M,)`` int64.
        value: ``(M,)`` float64.
        row: Number of the row that it is in, ``(M,)`` int64.
        place: Where in that row, ``(M, 3)`` int64; -1 for dimensions that there are not.
        label: Of the row, ``(M,)`` int64.
    """

    quantity: Tensor
    value: Tensor
    row: Tensor
    place: Tensor
    label: Tensor

    @classmethod
    def none(cls) -> Peaks:
        """Without any entry."""
        whole = torch.zeros(0, dtype=torch.int64)
        return cls(whole, whole.double(), whole, whole.new_zeros(0, PLACE_DIMENSIONS), whole)

    @classmethod
    def joined(cls, parts: Sequence[Peaks]) -> Peaks:
        """All entries of several."""
        return cls(*(torch.cat(columns) for columns in zip(*(part.columns for part in parts), strict=True)))

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """What it holds, in the order of the class."""
        return tuple(getattr(self, column.name) for column in fields(self))

    def __len__(self) -> int:
        return len(self.quantity)

    def __getitem__(self, which: Tensor | slice) -> Peaks:
        return Peaks(*(column[which] for column in self.columns))

    def highest(self, k: int) -> Peaks:
        """The k highest entries of each quantity, sorted by quantity and falling value; of equal ones the lower row.

        What they are does not depend on the order of the entries, as long as a quantity has one for each row.

        >>> rows, none = torch.arange(4), torch.full((4, 3), -1)
        >>> peaks = Peaks(torch.tensor([0, 0, 0, 1]), torch.tensor([2.0, 5.0, 5.0, 1.0]), rows, none, rows)
        >>> peaks.highest(2).row.tolist()
        [1, 2, 3]
        """
        # NumPy sorts by several keys in half the time that three sorts of PyTorch take.
        keys = self.row, -self.value, self.quantity
        order = torch.from_numpy(np.lexsort([key.numpy() for key in keys]))
        quantity = self.quantity[order]
        # Place of each entry among those of its quantity.
        number = torch.arange(len(order))
        begins = torch.ones_like(number, dtype=torch.bool)
        begins[1:] = quantity[1:] != quantity[:-1]
        rank = number - torch.where(begins, number, 0).cummax(dim=0).values if len(order) else number
        return self[order[rank < k]]

    def of(self, quantity: int) -> Peaks:
        """Those of one quantity, in their order."""
        return self[self.quantity == quantity]

    def shifted(self, by: int) -> Peaks:
        """The same, for quantities whose numbers are higher."""
        return Peaks(self.quantity + by, self.value, self.row, self.place, self.label)


class PeakStream:
    """Keeps the k highest values of each quantity while rows stream by.

    New entries wait until there are as many as are kept, so that sorting is rare. Besides, one batch's entries are in
    memory.

    Args:
        quantities: How many there are, F.
        k: Values kept of each.
    """

    def __init__(self, quantities: int, k: int) -> None:
        self.quantities = quantities
        self.k = k
        self.floor = torch.full((quantities,), -torch.inf, dtype=torch.float64)
        """What a value must reach to be kept, ``(F,)``; only ever too low."""
        self._kept = Peaks.none()
        self._waiting: list[Peaks] = []

    def add(self, entries: Peaks) -> None:
        """Take entries in, one of each row and quantity; those below the floor may be left out."""
        self._waiting.append(entries)
        if sum(map(len, self._waiting)) >= self.quantities * self.k:
            self._compact()

    def peaks(self) -> Peaks:
        """What is kept: at most k of each quantity, highest first."""
        self._compact()
        return self._kept

    def state_dict(self) -> dict[str, Any]:
        """Everything to resume from later."""
        return {"quantities": self.quantities, "k": self.k, "peaks": dict(vars(self.peaks()))}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> PeakStream:
        """The stream that :meth:`state_dict` was taken of."""
        stream = cls(state["quantities"], state["k"])
        stream.add(Peaks(**state["peaks"]))
        stream._compact()
        return stream

    def _compact(self) -> None:
        if not self._waiting:
            return
        self._kept = Peaks.joined([self._kept, *self._waiting]).highest(self.k)
        self._waiting = []
        counts = torch.bincount(self._kept.quantity, minlength=self.quantities)
        full = counts >= self.k
        ends = counts.cumsum(dim=0) - 1
        self.floor = torch.full((self.quantities,), -torch.inf, dtype=torch.float64)
        self.floor[full] = self._kept.value[ends[full]]


def require_kept(k: int) -> None:
    """Refuse to keep nothing.

    Raises:
        InputError: k is no whole number of at least 1.
    """
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        message = f"Expected `exemplars`, the images that are kept of each filter, to be at least 1, got {k!r}."
        raise InputError(message)
