"""Values that were written over through another view of their memory, such as by `y[:, :2].add_(x)`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, fx

Layout: TypeAlias = tuple[tuple[int, ...], int]
"""Strides and offset of a tensor in its memory."""


def written_through(value: Tensor, part: Tensor, of_value: Layout, of_part: Layout) -> Tensor:
    """A value after something was written to memory that it shares.

    Args:
        value: As it was.
        part: What was written.
        of_value: Where the value lies in memory.
        of_part: Where that was written.

    >>> import torch
    >>> written_through(torch.zeros(2, 3), torch.ones(2), ((3, 1), 0), ((3,), 1))
    tensor([[0., 1., 0.],
            [0., 1., 0.]])
    """
    begin = min(of_value[1], of_part[1])
    end = max(_end(tensor.shape, layout) for tensor, layout in ((value, of_value), (part, of_part)))
    memory = value.new_zeros(end - begin)
    for tensor, (strides, offset) in ((value, of_value), (part, of_part)):
        # `as_strided_scatter` hands the gradient of what is written over on to what was there before.
        memory.as_strided(tensor.shape, strides, offset - begin).copy_(tensor)
    return memory.as_strided(value.shape, of_value[0], of_value[1] - begin)


@dataclass(frozen=True)
class Write:
    """One operation that wrote over a tensor.

    Attributes:
        version: How often the memory had been written to then.
        node: The operation.
        shape: Of what it wrote.
        layout: Where.
    """

    version: int
    node: fx.Node
    shape: Sequence[int]
    layout: Layout


class Writes:
    """What was written, by the memory that it was written to."""

    def __init__(self) -> None:
        self._by_memory: dict[int, list[Write]] = defaultdict(list)

    def note(self, written: Tensor, node: fx.Node) -> None:
        """An operation has written over a tensor."""
        write = Write(version_of(written), node, written.shape, layout_of(written))
        self._by_memory[written.untyped_storage().data_ptr()].append(write)

    def made(self, tensor: Tensor) -> None:
        """A tensor came about; where nothing was written to its memory yet, that may be another one's of before."""
        if not version_of(tensor):
            self._by_memory.pop(tensor.untyped_storage().data_ptr(), None)

    def since(self, tensor: Tensor, version: int) -> Iterator[Write]:
        """What was written over some of a tensor after it was noted, in order."""
        begin, end = layout_of(tensor)[1], _end(tensor.shape, layout_of(tensor))
        for write in self._by_memory.get(tensor.untyped_storage().data_ptr(), ()):
            if write.version > version and write.layout[1] < end and begin < _end(write.shape, write.layout):
                yield write

    def explain(self, tensor: Tensor) -> bool:
        """Whether the last write to a tensor's memory is known of."""
        known = self._by_memory.get(tensor.untyped_storage().data_ptr(), ())
        return max((write.version for write in known), default=0) >= version_of(tensor)


def version_of(tensor: Tensor) -> int:
    """How often a tensor's memory was written over; one that was made in inference mode does not count it."""
    return 0 if tensor.is_inference() else tensor._version  # noqa: SLF001 -- documented, has no public name


def layout_of(tensor: Tensor) -> Layout:
    """Where a tensor lies in its memory."""
    return tuple(tensor.stride()), int(tensor.storage_offset())


def is_same_place(value: Any, place: Callable[[], Tensor]) -> bool:
    """Whether a value is a tensor that lies where it is written to."""
    if not isinstance(value, Tensor):
        return False
    other = place()
    return value.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() and (
        value.shape,
        layout_of(value),
    ) == (other.shape, layout_of(other))


def repeats(tensor: Tensor) -> bool:
    """Whether several values of a tensor are one number in memory, as after `expand`."""
    return any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _end(shape: Sequence[int], layout: Layout) -> int:
    """Place in memory after the last number."""
    strides, offset = layout
    return offset + 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
