"""Results that should be the same up to the order of a sum."""

from __future__ import annotations

import torch
from torch import Tensor

RELATIVE = {torch.float64: 1e-9, torch.float32: 1e-4}


def joined(result: Tensor | tuple[Tensor, ...]) -> Tensor:
    """``(N, everything)``: one tensor, or several side by side."""
    parts = result if isinstance(result, tuple) else (result,)
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def assert_same(got: Tensor, expected: Tensor, what: str, *, rounding: float = 0.0) -> None:
    """Each example within 1e-9 (float64) of the example's largest value, and of what is below ``rounding`` anyhow."""
    assert got.shape == expected.shape, f"{what}: shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    assert got.isfinite().all(), f"{what}: not finite"
    scale = expected.abs().amax(dim=1, keepdim=True)
    scale = scale.clamp(min=max(torch.finfo(expected.dtype).tiny, rounding / RELATIVE[expected.dtype]))
    off = ((got - expected).abs() / scale).double()
    limit = RELATIVE[expected.dtype]
    worst = divmod(int(off.argmax()), off.shape[1])
    assert float(off.max()) <= limit, (
        f"{what}: example {worst[0]}, column {worst[1]} is {float(got[worst]):.6g}, "
        f"expected {float(expected[worst]):.6g} "
        f"({float(off.max()):.3g} of the example's largest value, {limit:g} allowed)"
    )
