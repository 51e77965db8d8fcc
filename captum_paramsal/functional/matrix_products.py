"""Products of matrices on a CPU, by the faster of the two libraries that PyTorch is built with.

``torch.mm`` of float32 matrices runs in the Intel MKL. On processors of other makers it takes half of what they can do,
and a fraction where few numbers are summed. oneDNN, which runs PyTorch's convolutions, has the same product, and is
faster there; on Intel's own processors the MKL is.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

FORMED = 1 << 18
"""Numbers of a product from which on oneDNN is called, once for each; smaller ones go to ``torch.bmm`` together."""

MULTIPLIED = 1 << 21
"""The same of the multiplications that it takes."""

_PROCESSORS = {"x86_64", "amd64"}
"""Elsewhere oneDNN may be without kernels of its own."""

Product = Callable[[Tensor, Tensor], Tensor]


def large_product(left: Tensor, right: Tensor, *, absolute: bool = False) -> Product | None:
    """What multiplies one pair of matrices, if that is worth a call for each pair; None where ``torch.bmm`` is better.

    Shapes, data type and machine decide, never a clock: the same numbers come of every run. What is returned may be
    used for some rows of the first matrix alone, but not within a graph.

    Args:
        left: ``(..., n, k)``.
        right: ``(..., k, m)``.
        absolute: Whether the absolute values of the product are wanted, which cost no pass of their own.

    >>> large_product(torch.ones(2, 3), torch.ones(3, 1)) is None
    True
    """
    if left.device.type != "cpu" or not left.dtype == right.dtype == torch.float32:
        return None
    numbers = left.shape[-2] * right.shape[-1]
    large = numbers >= FORMED or numbers * left.shape[-1] >= MULTIPLIED
    return _onednn(absolute=absolute) if large and torch.backends.mkldnn.enabled and not _made_by_intel() else None


def pairwise_products(left: Tensor, right: Tensor) -> Tensor:
    """The products of pairs of matrices, outside of any graph.

    Args:
        left: ``(B, n, k)``.
        right: ``(B, k, m)``.

    Returns:
        ``(B, n, m)``.

    >>> pairwise_products(torch.ones(1, 2, 3), torch.ones(1, 3, 1)).tolist()
    [[[3.0], [3.0]]]
    """
    of_pair = large_product(left, right)
    if of_pair is None or not len(left):
        return torch.bmm(left, right)
    each = [of_pair(*pair) for pair in zip(left, right, strict=True)]
    return each[0][None] if len(each) == 1 else torch.stack(each)


@cache
def _made_by_intel() -> bool:
    """Whether the processor is one that the MKL is written for."""
    about = Path("/proc/cpuinfo")
    return "GenuineIntel" in (about.read_text() if about.exists() else platform.processor())


@cache
def _onednn(*, absolute: bool = False) -> Product | None:
    """The product by oneDNN that PyTorch's own compiler calls for linear layers; None where it is not to be had."""
    linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if linear is None or platform.machine().lower() not in _PROCESSORS or not torch.backends.mkldnn.is_available():
        return None

    # A rectifier that takes what is negative times -1 leaves the absolute value.
    afterwards = ("leaky_relu", [-1.0]) if absolute else ("none", [])

    def product(left: Tensor, right: Tensor) -> Tensor:
        found: Tensor = linear(_dense(left), _dense(right.t()), None, *afterwards, "")
        return found

    # It is no public operation: where it is not what it was, the other library is taken.
    trial, other = torch.arange(6.0).view(2, 3), torch.arange(-3.0, 3.0).view(3, 2)
    expected = (trial @ other).abs() if absolute else trial @ other
    try:
        agrees = torch.equal(product(trial, other), expected)
    except Exception:  # noqa: BLE001 -- whatever it lacks, the other library has the product
        return None
    return product if agrees else None


def _dense(matrix: Tensor) -> Tensor:
    """The matrix without gaps: with others oneDNN fails, or takes a thousand times as long."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()
