"""How suspicious a filter is that is hit more often in mistakes than in correct images (fault localisation)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Suspiciousness: TypeAlias = Callable[[Tensor, Tensor, int, int], Tensor]
"""From the mistakes and the correct images that hit each filter, ``(F,)`` each, and how many there are of both."""


def ochiai(hit_mistakes: Tensor, hit_correct: Tensor, mistakes: int, correct: int) -> Tensor:  # noqa: ARG001
    """``m / √(M (m + c))``, with m of M mistakes and c correct images that hit a filter.

    Args:
        hit_mistakes: m, ``(F,)``.
        hit_correct: c, ``(F,)``.
        mistakes: M.
        correct: Correct images in all, which do not count here.

    Returns:
        ``(F,)`` from 0 to 1; 0 for a filter that nothing hits.

    >>> ochiai(torch.tensor([4.0, 1.0, 0.0]), torch.tensor([0.0, 3.0, 0.0]), 4, 8)
    tensor([1.0000, 0.2500, 0.0000])
    """
    return _share(hit_mistakes, (mistakes * (hit_mistakes + hit_correct)).sqrt())


def tarantula(hit_mistakes: Tensor, hit_correct: Tensor, mistakes: int, correct: int) -> Tensor:
    """``(m / M) / (m / M + c / C)``, with c of C correct images; see :func:`ochiai`.

    >>> tarantula(torch.tensor([4.0, 1.0, 0.0]), torch.tensor([0.0, 2.0, 0.0]), 4, 8)
    tensor([1.0000, 0.5000, 0.0000])
    """
    of_mistakes, of_correct = hit_mistakes / mistakes, hit_correct / correct
    return _share(of_mistakes, of_mistakes + of_correct)


def d_star(hit_mistakes: Tensor, hit_correct: Tensor, mistakes: int, correct: int) -> Tensor:  # noqa: ARG001
    """``m³ / (c + M - m)``: D* with the exponent 3; see :func:`ochiai`.

    Infinite for a filter that all mistakes hit and no correct image.

    >>> d_star(torch.tensor([4.0, 2.0, 0.0]), torch.tensor([0.0, 2.0, 1.0]), 4, 8)
    tensor([inf, 2., 0.])
    """
    return torch.where(hit_mistakes > 0, hit_mistakes**3 / (hit_correct + mistakes - hit_mistakes), 0.0)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole, 0.0)
