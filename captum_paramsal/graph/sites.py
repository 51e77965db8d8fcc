"""Selected neurons at one place of the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sites:
    """M selected neurons of one tensor of the network, those of all images together.

    Attributes:
        image: Image whose decision it carried, ``(M,)`` int64.
        index: Which neuron, as a place in the flattened tensor of all images, ``(M,)`` int64.
        gain: Factor by which the neuron's value enters what selected it, beyond a layer's own weights, ``(M,)``.
        supports: Ω, Z_cur, Z_pre and Z_suc by which it, or what it passed its value on to, was selected, ``(M, 4)``.
        origin: Row, among the neurons that a rule was given, of the one that it was kept for, ``(M,)`` int64; None
            where nobody asks for it.
    """

    image: Tensor
    index: Tensor
    gain: Tensor
    supports: Tensor
    origin: Tensor | None = None

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: Tensor | slice) -> Sites:
        origin, parts = self.origin, (self.image, self.index, self.gain, self.supports)
        if isinstance(rows, slice):
            image, index, gain, supports = (part[rows] for part in parts)
            return Sites(image, index, gain, supports, None if origin is None else origin[rows])
        # Whole rows are copied at once, which indexing with a tensor does number by number.
        rows = rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows
        image, index, gain, supports = (part.index_select(0, rows) for part in parts)
        return Sites(image, index, gain, supports, None if origin is None else origin.index_select(0, rows))

    def at(self, index: Tensor, gain: Tensor | None = None) -> Sites:
        """The same selection, one step back: at another place, and with another gain."""
        return replace(self, index=index, gain=self.gain if gain is None else gain)

    def values(self, tensor: Tensor) -> Tensor:
        """Values of these neurons in their tensor."""
        return tensor.reshape(-1).index_select(0, self.index)

    def numbered(self) -> Sites:
        """The same neurons, each its own origin: what is kept for it bears its row."""
        return replace(self, origin=torch.arange(len(self), device=self.image.device))

    @classmethod
    def side_by_side(cls, parts: Sequence[Sites]) -> Sites:
        """All of them in turn, a neuron as often as it is there; without origins where one part has none."""
        image, index, gain, supports = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("image", "index", "gain", "supports")
        )
        origins = [part.origin for part in parts if part.origin is not None]
        return cls(image, index, gain, supports, torch.cat(origins) if len(origins) == len(parts) else None)

    @classmethod
    def joined(cls, parts: Sequence[Sites]) -> Sites:
        """The union, each neuron once, sorted by image and neuron.

        A neuron that was reached more than once keeps its largest gain (in absolute value) and the supports with the
        largest Ω; of equal ones the first. It has no origin, since it may have several.
        """
        every = replace(cls.side_by_side(parts), origin=None)
        image, index, gain, supports = every.image, every.index, every.gain, every.supports
        key = image * (int(index.max()) + 1 if len(index) else 1) + index
        ordered, order = key.sort(stable=True)
        if bool(_begins(ordered).all()):
            return every[order]
        strongest, likeliest = (_first_of_each(key, -rank) for rank in (gain.abs(), supports[:, 0]))
        return replace(every[likeliest], gain=gain[strongest])


def _first_of_each(key: Tensor, rank: Tensor) -> Tensor:
    """Rows that have the lowest rank among those of the same key, in the order of the keys."""
    order = torch.argsort(rank, stable=True)
    ordered, within = key[order].sort(stable=True)
    return order[within][_begins(ordered)]


def _begins(ordered: Tensor) -> Tensor:
    """Which of some sorted numbers are other than the one before."""
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return first
