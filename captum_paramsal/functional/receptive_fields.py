"""What single neurons of a convolution or a pool see, gathered at their places only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

WINDOW_NUMBERS = 1 << 19
"""Numbers of the receptive fields that are in memory at once: 2 MiB in float32, what a CPU's caches hold."""

FEW = 8
"""Fewer than one filter of so many, at each place: their contributions are cheaper one by one than all together."""

_LOOKED_AT = 128
"""Entries of a vector that are looked at together for the largest product."""


@dataclass(frozen=True)
class Window:
    """How a window moves over a map of one or more dimensions.

    Attributes:
        kernel: Taps in each dimension, such as ``(height, width)``.
        stride: Step from one output to the next.
        padding: What is added before and after the map in each dimension, such as ``((top, bottom), (left, right))``.
        dilation: Distance between taps.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))
    dilation: tuple[int, ...] = (1, 1)

    def centre(self, places: Tensor, dimension: int, size: int) -> Tensor:
        """Centre of the receptive field ``S·y - P + ⌊D(K - 1) / 2⌋``, inside the map.

        >>> Window((3, 3), stride=(2, 2), padding=((1, 1), (1, 1))).centre(torch.arange(4), dimension=0, size=8)
        tensor([0, 2, 4, 6])
        """
        middle = self.dilation[dimension] * (self.kernel[dimension] - 1) // 2 - self.padding[dimension][0]
        return (places * self.stride[dimension] + middle).clamp(0, size - 1)

    @property
    def is_pointwise(self) -> bool:
        """Whether each output sees its own place alone."""
        return {*self.kernel, *self.stride} == {1} and not self._is_padded

    def taps(self, place: Tensor, outputs: Sequence[int], sizes: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """What each tap of some outputs sees of a map.

        Args:
            place: Places in the flattened output, ``(P,)``.
            outputs: Sizes of the output.
            sizes: Sizes of the map.

        Returns:
            Places in the flattened map ``(P, K)``, and which of them are inside it; None for all.
        """
        if self.is_pointwise:
            return place[:, None], None
        reached = [
            (at * self.stride[dimension] - self.padding[dimension][0])[:, None]
            + self.dilation[dimension] * torch.arange(self.kernel[dimension], device=at.device)
            for dimension, at in enumerate(torch.unravel_index(place, tuple(outputs)))
        ]
        bounded = list(zip(reached, sizes, strict=True))
        seen, inside = of_flat_map(
            [places.clamp(0, size - 1) for places, size in bounded],
            [(places >= 0) & (places < size) for places, size in bounded],
            sizes,
        )
        return seen, inside if self._is_padded else None

    @property
    def _is_padded(self) -> bool:
        return any(padded for pair in self.padding for padded in pair)

    def fields(
        self, maps: Tensor, row: Tensor, place: Tensor, outputs: Sequence[int], channels: Tensor | None = None
    ) -> Tensor:
        """Receptive fields of P outputs, ``(P, K, C)``, 0 in the padding.

        The channels come last, where what a filter makes of each is summed over the taps in whole rows.

        Args:
            maps: ``(N, C, *size)``.
            row: Row of the maps of each, ``(P,)``.
            place: Place of each in the flattened output, ``(P,)``.
            outputs: Sizes of the output.
            channels: Which channels each sees, ``(P, C')``; all by default.
        """
        seen, inside = self.taps(place, outputs, maps.shape[2:])
        flat = maps.flatten(2)
        if channels is None:
            fields = flat[row[:, None], :, seen]
        else:
            fields = flat[row[:, None, None], channels[:, None], seen[:, :, None]]
        return fields if inside is None else fields.masked_fill_(~inside[:, :, None], 0)


def of_flat_map(taps: Sequence[Tensor], inside: Sequence[Tensor], sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """From what windows see in each dimension of a map to what they see of the flattened map.

    Args:
        taps: Places in each dimension, ``(M, K_1)``, ``(M, K_2)`` and so on.
        inside: Which of them are in the map.
        sizes: Of the map.

    Returns:
        The same for all dimensions together, ``(M, K_1 K_2 ...)``.

    >>> rows, columns = torch.tensor([[1, 2]]), torch.tensor([[0, 3]])
    >>> of_flat_map([rows, columns], [rows < 2, columns > 0], (3, 4))
    (tensor([[ 4,  7,  8, 11]]), tensor([[False,  True, False, False]]))
    """
    place = taps[0].new_zeros(len(taps[0]), 1)
    within = torch.ones_like(place, dtype=torch.bool)
    for part, there, size in zip(taps, inside, sizes, strict=True):
        place = (place[:, :, None] * size + part[:, None]).flatten(1)
        within = (within[:, :, None] & there[:, None]).flatten(1)
    return place, within


def pieces(count: int, numbers: int) -> Iterator[slice]:
    """Slices of ``count`` rows, so short that rows of ``numbers`` numbers fit in :data:`WINDOW_NUMBERS`."""
    step = max(1, WINDOW_NUMBERS // max(numbers, 1))
    return (slice(start, start + step) for start in range(0, count, step))


def supports(fields: Tensor, owners: Tensor, weights: Tensor, filters: Tensor) -> Tensor:
    """What every input channel contributes to some neurons: ``Σ_k field[k, c] · weight[k, c]``.

    Args:
        fields: Receptive fields, ``(P, K, C)``.
        owners: Row of the receptive field of each neuron, ``(M,)``.
        weights: ``(O, K, C)``.
        filters: Filter of each neuron, ``(M,)``.

    Returns:
        ``(M, C)``.
    """
    contributions = fields.new_empty(len(filters), weights.shape[2])
    for part in pieces(len(filters), prod(weights.shape[1:])):
        products = fields.index_select(0, owners[part]).mul_(weights.index_select(0, filters[part]))
        torch.sum(products, dim=1, out=contributions[part])
    return contributions


def distinct(column: Tensor, *others: tuple[Tensor, int]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Distinct rows of some columns of whole numbers from 0, sorted, and the row that each given one became.

    Args:
        column: The first column.
        *others: The others, each with a number that it stays below.

    >>> distinct(torch.tensor([1, 0, 1]), (torch.tensor([5, 2, 5]), 8))
    ((tensor([0, 1]), tensor([2, 5])), tensor([1, 0, 1]))
    """
    for other, size in others:
        column = column * size + other
    flat, inverse = torch.unique(column, return_inverse=True)
    rows = []
    for _, size in reversed(others):
        rows.append(flat % size)
        flat = flat // size
    return (flat, *reversed(rows)), inverse


def largest_norms(rows: Tensor) -> Tensor:
    """The largest Euclidean norm among the channels of receptive fields or filters, ``(P, K, C)`` to ``(P,)``."""
    # Squares and their sum go along the channels; a norm over a dimension in the middle is ten times slower.
    return rows.square().sum(dim=1).amax(dim=1).sqrt()


def largest_supports(fields: Tensor, weights: Tensor) -> Tensor:
    """The largest contribution of a single input channel to each filter at some places.

    Args:
        fields: Receptive fields, ``(P, K, C)``.
        weights: ``(O, K, C)``.

    Returns:
        ``(P, O)``.
    """
    if weights.shape[1] == 1:
        return largest_products(fields[:, 0], weights[:, 0])
    best = fields.new_full((len(fields), len(weights)), -torch.inf)
    by_channel, kernels = fields.permute(2, 0, 1), weights.permute(2, 1, 0)
    for part in pieces(fields.shape[2], best.numel()):
        best = torch.maximum(best, torch.bmm(by_channel[part], kernels[part]).amax(dim=0))
    return best


def largest_products(vectors: Tensor, weights: Tensor) -> Tensor:
    """``max_c vectors[p, c] · weights[o, c]`` without looking at every product.

    The largest entries of a vector are looked at first; what is left cannot exceed the next entry times the filter's
    largest weight, and once that is no more than what was found, the maximum is known.

    Args:
        vectors: ``(P, C)``.
        weights: ``(O, C)``.

    Returns:
        ``(P, O)``.
    """
    channels = vectors.shape[1]
    sizes, order = vectors.abs().sort(dim=1, descending=True)
    by_channel, reach = weights.T.contiguous(), weights.abs().amax(dim=1)
    best = vectors.new_full((len(vectors), len(weights)), -torch.inf)
    open_ = torch.arange(len(vectors), device=vectors.device)
    for start in range(0, channels, _LOOKED_AT):
        looked = order[open_, start : start + _LOOKED_AT]
        for part in pieces(len(open_), looked.shape[1] * len(weights)):
            rows, columns = open_[part], looked[part]
            products = by_channel[columns].mul_(vectors[rows[:, None], columns][:, :, None])
            best[rows] = torch.maximum(best[rows], products.amax(dim=1))
        if start + _LOOKED_AT < channels:
            limit = sizes[open_, start + _LOOKED_AT, None] * reach
            open_ = open_[(limit > best[open_]).any(dim=1)]
    return best
