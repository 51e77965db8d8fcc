"""What single neurons of a convolution or a pool see, gathered at their places only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

WINDOW_NUMBERS = 1 << 19
"""Numbers of the receptive fields that are in memory at once: 2 MiB in float32, what a CPU's caches hold."""

FEW = 8
"""Fewer than one filter of so many, at each place: their contributions are cheaper one by one than all together."""

LOOKED_AT = 128
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

    def over(self, maps: Tensor) -> Tensor:
        """A view of every receptive field of ``(N, C, *size)``, ``(N, C, *size', *kernel)``; only padding copies."""
        if any(one for pair in self.padding for one in pair):
            maps = functional.pad(maps, [one for pair in reversed(self.padding) for one in pair])
        sizes = [
            (size - dilation * (kernel - 1) - 1) // stride + 1
            for size, dilation, kernel, stride in zip(
                maps.shape[2:], self.dilation, self.kernel, self.stride, strict=True
            )
        ]
        rows = maps.stride()[2:]
        return maps.as_strided(
            (*maps.shape[:2], *sizes, *self.kernel),
            (
                *maps.stride()[:2],
                *(row * stride for row, stride in zip(rows, self.stride, strict=True)),
                *(row * dilation for row, dilation in zip(rows, self.dilation, strict=True)),
            ),
        )

    def fields(self, maps: Tensor, row: Tensor, place: Sequence[Tensor]) -> Tensor:
        """Receptive fields of P outputs, ``(P, C, K)``.

        Args:
            maps: ``(N, C, *size)``.
            row: Row of the maps of each, ``(P,)``.
            place: Place of each in the output, one ``(P,)`` for each dimension.
        """
        return self.at(self.over(maps), row, place)

    def at(self, fields: Tensor, row: Tensor, place: Sequence[Tensor]) -> Tensor:
        """The same from a view of all receptive fields."""
        index = (row, *place)
        return fields.movedim(1, 1 + len(self.kernel))[index].flatten(2)


def pieces(count: int, numbers: int) -> Iterator[slice]:
    """Slices of ``count`` rows, so short that rows of ``numbers`` numbers fit in :data:`WINDOW_NUMBERS`."""
    step = max(1, WINDOW_NUMBERS // max(numbers, 1))
    return (slice(start, start + step) for start in range(0, count, step))


def supports(fields: Tensor, owners: Tensor, weights: Tensor, filters: Tensor) -> Tensor:
    """What every input channel contributes to some neurons: ``Σ_k field[c, k] · weight[c, k]``.

    Args:
        fields: Receptive fields, ``(P, C, K)``.
        owners: Row of the receptive field of each neuron, ``(M,)``.
        weights: ``(O, C, K)``.
        filters: Filter of each neuron, ``(M,)``.

    Returns:
        ``(M, C)``.
    """
    numbers = prod(weights.shape[1:])
    found = [(fields[owners[part]] * weights[filters[part]]).sum(dim=-1) for part in pieces(len(filters), numbers)]
    return torch.cat(found) if found else fields.new_empty(0, weights.shape[1])


def distinct(*columns: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Distinct rows of some columns of whole numbers from 0, sorted, and the row that each given one became.

    >>> distinct(torch.tensor([1, 0, 1]), torch.tensor([5, 2, 5]))
    ((tensor([0, 1]), tensor([2, 5])), tensor([1, 0, 1]))
    """
    sizes = [int(column.max()) + 1 if len(column) else 1 for column in columns]
    key = torch.zeros_like(columns[0])
    for column, size in zip(columns, sizes, strict=True):
        key = key * size + column
    found, inverse = torch.unique(key, return_inverse=True)
    rows = []
    for size in reversed(sizes):
        rows.append(found % size)
        found = found // size
    return tuple(reversed(rows)), inverse


def largest_norms(rows: Tensor) -> Tensor:
    """The largest Euclidean norm among the channels of receptive fields or filters, ``(P, C, K)`` to ``(P,)``."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=2)
    return norms.amax(dim=1)


def largest_supports(fields: Tensor, weights: Tensor) -> Tensor:
    """The largest contribution of a single input channel to each filter at some places.

    Args:
        fields: Receptive fields, ``(P, C, K)``.
        weights: ``(O, C, K)``.

    Returns:
        ``(P, O)``.
    """
    if weights.shape[2] == 1:
        return largest_products(fields[:, :, 0], weights[:, :, 0])
    best = fields.new_full((len(fields), len(weights)), -torch.inf)
    by_channel, kernels = fields.transpose(0, 1), weights.permute(1, 2, 0)
    for part in pieces(fields.shape[1], best.numel()):
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
    for start in range(0, channels, LOOKED_AT):
        looked = order[open_, start : start + LOOKED_AT]
        for part in pieces(len(open_), looked.shape[1] * len(weights)):
            rows, columns = open_[part], looked[part]
            products = by_channel[columns].mul_(vectors[rows[:, None], columns][:, :, None])
            best[rows] = torch.maximum(best[rows], products.amax(dim=1))
        if start + LOOKED_AT < channels:
            limit = sizes[open_, start + LOOKED_AT, None] * reach
            open_ = open_[(limit > best[open_]).any(dim=1)]
    return best
