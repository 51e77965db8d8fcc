"""Mean absolute value of many matrix products that never need to be stored.

The weight gradient of one example is a product D Xᵀ of output gradients and input columns, summed over P positions.
Only the mean of its absolute values per row is wanted, while writing the product is what costs time where P is small.
"""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor

from captum_paramsal.functional.matrix_products import Product, large_product
from captum_paramsal.functional.measured_choice import MeasuredChoice
from captum_paramsal.functional.profile import accumulation_type, mean_abs, mean_abs_

CACHED_NUMBERS = 1 << 20
"""Size of what is formed at once where nothing was measured: 4 MiB in float32."""

CACHED_SIZES = (1 << 18, 1 << 21)
"""Sizes that may be faster, depending on the caches and on what it takes to wake the threads."""

CACHED_NUMBERS_ALONE = 1 << 18
"""The same on one thread, which may be faster than several that have to be woken for each small product."""

BLOCK_NUMBERS = 1 << 27
"""Size of what an accelerator forms at once: 512 MiB in float32."""

FUSED_POSITIONS = 16
"""Up to this many positions a sum of outer products, unrolled, beats a matrix product and a pass over its result."""

FUSED_NUMBERS = 1 << 13
"""Numbers of an example's columns that the compiled loop reads for every row: they have to stay in the first cache."""

_fused: ContextVar[bool] = ContextVar("fused_products", default=False)


class _Way(NamedTuple):
    """How products are formed in the cache.

    Attributes:
        numbers: Size of what is formed at once.
        alone: Whether one thread does it.
    """

    numbers: int
    alone: bool = False


_ways = MeasuredChoice(_Way(CACHED_NUMBERS), (*map(_Way, CACHED_SIZES), _Way(CACHED_NUMBERS_ALONE, alone=True)))


@contextmanager
def fused_products(*, enabled: bool = True) -> Iterator[None]:
    """Compile the product, the absolute value and the mean into one loop while the context lasts.

    Worth its seconds of compilation on long passes with small feature maps. Where no compiler is found the plain path
    is taken; the results agree up to rounding.
    """
    token = _fused.set(enabled and compiler_found())
    try:
        yield
    finally:
        _fused.reset(token)


@cache
def compiler_found() -> bool:
    """Whether ``torch.compile`` has what it needs to build for the CPU here."""
    configured = str(sysconfig.get_config_var("CXX") or "").split()
    return any(shutil.which(name) for name in ("g++", "clang++", *configured[:1]))


def fusion_pays(positions: int) -> bool:
    """Whether a product over so many positions will run fused."""
    return _fused.get() and 1 < positions <= FUSED_POSITIONS


def mean_abs_product(outputs: Tensor, columns: Tensor) -> Tensor:
    """Mean over m of ``|Σ_p outputs[b, o, p] · columns[b, m, p]|``.

    Args:
        outputs: ``(B, O, P)``.
        columns: ``(B, M, P)``.

    Returns:
        ``(B, O)``; float32 for half precision.

    >>> mean_abs_product(torch.ones(1, 1, 2), torch.tensor([[[1.0, 1.0], [-4.0, 0.0]]]))
    tensor([[3.]])
    """
    if outputs.shape[2] == 1:
        return mean_abs(outputs) * mean_abs(columns.transpose(1, 2))
    if outputs.device.type != "cpu":
        # One small product would leave an accelerator idle.
        return _in_blocks(outputs, columns, BLOCK_NUMBERS)
    means = _fused_mean(outputs, columns) if fusion_pays(outputs.shape[2]) else None
    if means is not None:
        return means
    if torch.is_grad_enabled() and (outputs.requires_grad or columns.requires_grad):
        return _in_blocks(outputs, columns, CACHED_NUMBERS)
    return _formed(outputs, columns, _way_for(outputs, columns))


def _way_for(outputs: Tensor, columns: Tensor) -> _Way:
    """How products are formed on the CPU."""
    numbers = max(outputs.shape[1] * columns.shape[1], 1)
    # As many examples as fill the largest piece once.
    few = slice(max(1, max(CACHED_SIZES) // numbers))
    work = len(outputs) * numbers / max(CACHED_SIZES)
    shape = (outputs.shape[1:], columns.shape[1], outputs.dtype, outputs.stride()[1:], columns.stride()[1:])
    return _ways.of(shape, work, lambda way: _formed(outputs[few], columns[few], way))


def _formed(outputs: Tensor, columns: Tensor, way: _Way) -> Tensor:
    with on_one_thread() if way.alone else nullcontext():
        return _in_cache(outputs, columns, way.numbers)


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Operations on the CPU use one thread while the context lasts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _in_blocks(outputs: Tensor, columns: Tensor, numbers: int) -> Tensor:
    """Many whole products at a time, each time in new memory."""
    step = max(1, numbers // max(outputs.shape[1] * columns.shape[1], 1))
    pairs = zip(outputs.split(step), columns.transpose(1, 2).split(step), strict=True)
    return torch.cat([mean_abs_(output @ column) for output, column in pairs])


def _in_cache(outputs: Tensor, columns: Tensor, numbers: int) -> Tensor:
    """Whole products, or a few rows of one, at a time, again and again in the same memory."""
    rows, width = outputs.shape[1], columns.shape[1]
    means = outputs.new_empty(outputs.shape[:2], dtype=accumulation_type(outputs.dtype))
    others = columns.transpose(1, 2)
    product = large_product(outputs, others, absolute=True)
    if product is None and 2 * rows * width <= numbers:
        step = max(1, min(len(outputs), numbers // max(rows * width, 1)))
        block = outputs.new_empty(step, rows, width)
        for output, column, mean in zip(outputs.split(step), others.split(step), means.split(step), strict=True):
            formed = torch.bmm(output, column, out=block[: len(output)])
            torch.sum(formed.abs_(), dim=2, dtype=means.dtype, out=mean)
        return means.div_(width)
    step = max(1, min(rows, numbers // max(width, 1)))
    product = product or _into(outputs.new_empty(step, width))
    for output, other, mean in zip(outputs, others, means, strict=True):
        for part, of_part in zip(output.split(step), mean.split(step), strict=True):
            torch.sum(product(part, other), dim=1, dtype=means.dtype, out=of_part)
    return means.div_(width)


def _into(piece: Tensor) -> Product:
    """The absolute product of two matrices in memory that is used again and again."""
    return lambda left, right: torch.mm(left, right, out=piece[: len(left)]).abs_()


def _sum_of_outer_products(outputs: Tensor, rows: Tensor) -> Tensor:
    total = outputs[:, :, 0, None] * rows[:, None, 0]
    for p in range(1, outputs.shape[2]):
        total = total + outputs[:, :, p, None] * rows[:, None, p]
    return total.abs().sum(dim=2)


@cache
def _fused_kernel() -> Callable[[Tensor, Tensor], Tensor]:
    return torch.compile(_sum_of_outer_products, fullgraph=True, dynamic=True)


def _fused_mean(outputs: Tensor, columns: Tensor) -> Tensor | None:
    """The mean by the compiled kernel, or None where it cannot be built."""
    if outputs.dtype != torch.float32:
        return None
    try:
        # The compiler warns of what it finds missing on the machine, which is no concern of the caller. A pass over a
        # model keeps the model's own compiled parts from running, and with them, without a word, this one.
        with catch_warnings(), torch.compiler.set_stance("default"):
            simplefilter("ignore")
            given, rows = outputs.contiguous(), columns.transpose(1, 2)
            parts = rows.split(max(1, FUSED_NUMBERS // outputs.shape[2]), dim=2)
            sums = [_fused_kernel()(given, part.contiguous()) for part in parts]
            return torch.stack(sums).sum(dim=0).div_(columns.shape[1])
    except Exception:  # noqa: BLE001 -- whatever the compiler lacks, the plain path gives the same numbers
        return None
