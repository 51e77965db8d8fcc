"""What the pixels around a hole let one expect in it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu
from torch import Tensor

from captum_paramsal.errors import InputError

_BESIDE, _ACROSS = 1 / 6, 1 / 12
"""Weights of a neighbour at an edge, and at a corner."""


def imputed(image: Tensor, removed: Tensor) -> Tensor:
    """An image whose removed pixels are weighted means of their neighbours.

    Neighbours at an edge weigh 1/6 and those at a corner 1/12, at the border of the image as shares of those that there
    are. Neighbours that are removed too are unknown as well: all of them are the solution of one sparse linear system.

    Args:
        image: ``(C, H, W)``.
        removed: ``(H, W)`` bool.

    Returns:
        ``(C, H, W)``, of the image's type.

    Raises:
        InputError: Every pixel is removed.

    References:
        Rong, Leemann, Borisov, Kasneci, Kasneci: *A Consistent and Efficient Evaluation Strategy for Attribution
        Methods*, ICML 2022, arXiv 2202.00449.

    >>> imputed(torch.tensor([[[1.0, 9.0, 5.0]]]), torch.tensor([[False, True, False]]))
    tensor([[[1., 3., 5.]]])
    """
    gone = removed.flatten().cpu().numpy()
    if gone.all():
        message = f"Expected at least one pixel of {tuple(removed.shape)} that is not removed, got none."
        raise InputError(message)
    if not gone.any():
        return image.clone()
    values = image.detach().to("cpu", torch.float64, copy=True).flatten(1).numpy()
    rows = _differences(*removed.shape)[gone]
    # Symmetric and positive definite, so no pivots are needed and few entries fill up.
    system = splu(
        rows[:, gone].tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    values[:, gone] = system.solve(-(rows[:, ~gone] @ values[:, ~gone].T)).T
    return torch.from_numpy(values).view(image.shape).to(image)


@lru_cache(maxsize=4)
def _differences(height: int, width: int) -> Any:
    """Sparse ``(HW, HW)``: at every pixel, its neighbours' weight times it, less their weighted sum."""
    places = np.arange(height * width).reshape(height, width)
    pairs = [
        (places[:, :-1], places[:, 1:], _BESIDE),
        (places[:-1], places[1:], _BESIDE),
        (places[:-1, :-1], places[1:, 1:], _ACROSS),
        (places[1:, :-1], places[:-1, 1:], _ACROSS),
    ]
    one = np.concatenate([first.ravel() for first, _, _ in pairs])
    other = np.concatenate([second.ravel() for _, second, _ in pairs])
    weights = np.concatenate([np.full(first.size, weight) for first, _, weight in pairs])
    rows, columns = np.concatenate([one, other]), np.concatenate([other, one])
    both = np.concatenate([weights, weights])
    diagonal = places.ravel()
    total = np.bincount(rows, both, minlength=len(diagonal))
    return coo_array(
        (
            np.concatenate([-both, total]),
            (np.concatenate([rows, diagonal]).astype(np.int32), np.concatenate([columns, diagonal]).astype(np.int32)),
        ),
        shape=(len(diagonal), len(diagonal)),
    ).tocsr()
