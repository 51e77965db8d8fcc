"""Means with their intervals, as cells of tables."""

from __future__ import annotations

from torch import Tensor

from captum_paramsal.stats import bootstrap_difference, bootstrap_mean

_ENDS = ("", " low", " high")


def interval(name: str, values: Tensor, seed: int = 0) -> dict[str, float]:
    """Mean of ``(N,)`` values and the ends of its 95 % bootstrap interval.

    >>> import torch
    >>> interval("share", torch.tensor([1.0, 1.0]))
    {'share': 1.0, 'share low': 1.0, 'share high': 1.0}
    """
    return named(name, bootstrap_mean(values.double(), seed))


def gap(name: str, group: Tensor, other: Tensor, seed: int = 0) -> dict[str, float]:
    """Difference of the means of two groups of images, ``(N,)`` and ``(M,)``, with its interval."""
    return named(name, bootstrap_difference(group.reshape(-1, 1), other.reshape(-1, 1), seed)[:, 0].tolist())


def named(name: str, values: tuple[float, ...] | list[float]) -> dict[str, float]:
    """A mean and the ends of its interval, as cells."""
    return {f"{name}{end}": value for end, value in zip(_ENDS, values, strict=True)}
