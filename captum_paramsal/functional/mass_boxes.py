"""The box that holds most of a map's mass, along each dimension by itself."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_paramsal.errors import InputError

OUTSIDE = 0.08
"""Share of the mass that stays outside at each end of each dimension."""

EVEN_VOTES = 14.0
"""Votes spread evenly over the image that the points of a trace are joined by: few points say little of an extent."""

_ROUNDING = 1e-9
"""A share that ends less than this before a pixel does ends with it: what is empty after it is left out in any case."""


def box_of_mass(values: Tensor, outside: float = OUTSIDE, even: Tensor | float = 0.0) -> Tensor:
    """Box that leaves a share of the mass outside at either end of each dimension, edges within pixels.

    Along a dimension the mass of a place is the sum of the map's positive values there. Where the share falls between
    two parts with nothing between them, the edge is that of the inner one.

    Args:
        values: ``(N, H, W)``; of volumes ``(N, D, H, W)``, of sequences ``(N, L)``.
        outside: In [0, 0.5).
        even: Share of the mass in [0, 1) that is spread evenly over the map in place of the map's own, one for all maps
            or one each, ``(N,)``.

    Returns:
        ``(N, 4)`` float64, x1, y1, x2, y2; in D dimensions the near corner and the far one ``(N, 2 D)``, from the last
        dimension to the first. NaN for a map without a positive value, or one that is not finite.

    Raises:
        InputError: ``outside`` or ``even`` out of its range.

    >>> box_of_mass(torch.tensor([[[0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]]]), outside=0.25)
    tensor([[1.5000, 0.5000, 2.5000, 1.5000]], dtype=torch.float64)
    """
    shares = torch.as_tensor(even, dtype=torch.float64, device=values.device)
    for name, given, end in (("outside", torch.as_tensor(outside), 0.5), ("even", shares, 1)):
        if not ((given >= 0) & (given < end)).all():
            message = f"Expected `{name}` from 0 to below {end}, a share of a map's mass, got {given.tolist()}."
            raise InputError(message)
    usable = values.isfinite().flatten(1).all(dim=1) & (values > 0).flatten(1).any(dim=1)
    # Divided by the maximum, so that no sum of large values overflows.
    top = values.flatten(1).amax(dim=1).where(usable, torch.ones_like(shares, dtype=values.dtype))
    mass = (values / top.view(-1, *[1] * (values.ndim - 1))).clamp(min=0)
    low, high = [], []
    for dimension in range(values.ndim - 1, 0, -1):
        others = [other for other in range(1, values.ndim) if other != dimension]
        profile = mass.sum(dim=others, dtype=torch.float64) if others else mass.double()
        size = profile.shape[1]
        profile = profile / profile.sum(dim=1, keepdim=True)
        profile = (1 - shares.view(-1, 1)) * profile + shares.view(-1, 1) / size
        low.append(_inner_end(profile, outside))
        high.append(size - _inner_end(profile.flip(1), outside))
    box = torch.stack([*low, *high], dim=1)
    return box.where(usable[:, None], torch.full_like(box, torch.nan))


def _inner_end(profile: Tensor, outside: float) -> Tensor:
    """How far from the start a share of the mass ends and the next part begins, ``(N,)``; the mass is 1."""
    until = profile.cumsum(dim=1)
    share = torch.full_like(until[:, :1], outside)
    # A row without mass has no such place, and is not used.
    place = torch.searchsorted(until, share + _ROUNDING, right=True).clamp(max=profile.shape[1] - 1)
    part = profile.gather(1, place)
    before = until.gather(1, place) - part
    return (place + (share - before).clamp(min=0) / part)[:, 0]
