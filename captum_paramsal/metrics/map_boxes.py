"""A box for methods that give a map only."""

from __future__ import annotations

from math import nan

import numpy as np
import torch
from scipy.ndimage import find_objects, label
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.functional.mass_boxes import box_of_mass
from captum_paramsal.metrics.maps import per_pixel

_TOUCHING = np.ones((3, 3), dtype=int)
"""Pixels that touch at a corner hang together."""


def box_of(maps: Tensor, threshold: float | None = 0.15) -> Tensor:
    """Tight box around the largest connected piece of what a map shows strongly, or the box of its mass.

    Strong is what exceeds ``threshold`` times the map's maximum; pieces hang together by sides or corners; of two
    equally large the first one in reading order is taken. A map without a positive maximum, or one that is not finite,
    has no box.

    Args:
        maps: ``(N, H, W)``, or ``(N, C, H, W)``, whose signed sum over the channels is taken.
        threshold: In [0, 1). The default is that of Grad-CAM's authors. None for the box that leaves 8 % of the sum of
            the positive values outside at either end of each dimension, as ``Trace.boxes`` has it.

    Returns:
        ``(N, 4)`` float64, x1, y1 inclusive, x2, y2 exclusive, in the maps' pixels; NaN where there is no box.

    Raises:
        InputError: Maps of another shape, or another threshold.

    References:
        Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization*,
        arXiv 1610.02391, on weakly-supervised localization; how pixels hang together is left open there.

    >>> box_of(torch.tensor([[[0.0, 0.9, 0.0, 1.0], [0.8, 0.0, 0.0, 0.0]]]))
    tensor([[0., 0., 2., 2.]], dtype=torch.float64)
    """
    if threshold is None:
        return box_of_mass(per_pixel(maps))
    if not 0 <= threshold < 1:
        message = f"Expected a `threshold` from 0 to below 1, a share of the map's maximum, got {threshold}."
        raise InputError(message)
    return torch.tensor([_box(values.numpy(), threshold) for values in per_pixel(maps)], dtype=torch.float64)


def _box(values: np.ndarray, threshold: float) -> tuple[float, float, float, float]:
    if not np.isfinite(values).all() or values.max() <= 0:
        return nan, nan, nan, nan
    pieces, count = label(values > threshold * values.max(), structure=_TOUCHING)
    largest = int(np.bincount(pieces.ravel(), minlength=count + 1)[1:].argmax())
    rows, columns = find_objects(pieces)[largest]
    return columns.start, rows.start, columns.stop, rows.stop
