"""Mean absolute value of many matrix products that never need to be stored.

The weight gradient of one example is a product D Xᵀ of output gradients and input columns, summed over P positions.
Only the mean of its absolute values per row is wanted, while writing the product is what costs time where P is small.
"""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor

from captum_paramsal.functional.profile import accumulation_type, mean_abs, mean_abs_

CACHED_NUMBERS = 1 << 18
"""Size of what is formed at once: 1 MiB in float32, which stays in the caches of two cores."""

BLOCK_NUMBERS = 1 << 27
"""Size of what an accelerator forms at once: 512 MiB in float32."""

FUSED_POSITIONS = 16
"""Up to this many positions a sum of outer products, unrolled, beats a matrix product and a pass over its result."""

_fused: ContextVar[bool] = ContextVar("fused_products", default=False)


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
    small = 2 * outputs.shape[1] * columns.shape[1] <= CACHED_NUMBERS
    return _in_blocks(outputs, columns, CACHED_NUMBERS) if small else _in_pieces(outputs, columns)


def _in_blocks(outputs: Tensor, columns: Tensor, numbers: int) -> Tensor:
    """Many whole products at a time."""
    step = max(1, numbers // max(outputs.shape[1] * columns.shape[1], 1))
    pairs = zip(outputs.split(step), columns.transpose(1, 2).split(step), strict=True)
    return torch.cat([mean_abs_(output @ column) for output, column in pairs])


def _in_pieces(outputs: Tensor, columns: Tensor) -> Tensor:
    """A few rows of one product at a time."""
    rows, width = outputs.shape[1], columns.shape[1]
    step = max(1, min(rows, CACHED_NUMBERS // max(width, 1)))
    piece = outputs.new_empty(step, width)
    means = outputs.new_empty(outputs.shape[:2], dtype=accumulation_type(outputs.dtype))
    for output, column, mean in zip(outputs, columns.transpose(1, 2), means, strict=True):
        for start in range(0, rows, step):
            part = output[start : start + step]
            product = torch.mm(part, column, out=piece[: len(part)])
            torch.sum(product.abs_(), dim=1, dtype=means.dtype, out=mean[start : start + step])
    return means.div_(width)


def _sum_of_outer_products(outputs: Tensor, rows: Tensor) -> Tensor:
    total = outputs[:, :, 0, None] * rows[:, None, 0]
    for p in range(1, outputs.shape[2]):
        total = total + outputs[:, :, p, None] * rows[:, None, p]
    return total.abs().mean(dim=2)


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
            return _fused_kernel()(outputs.contiguous(), columns.transpose(1, 2).contiguous())
    except Exception:  # noqa: BLE001 -- whatever the compiler lacks, the plain path gives the same numbers
        return None
