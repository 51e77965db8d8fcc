"""Pixels within outlines that were drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_paramsal.errors import InputError


def filled(polygons: Sequence[Any], size: tuple[int, int]) -> Tensor:
    """Pixels that polygons cover together, with their outlines, cut off where the image ends.

    Args:
        polygons: Each a list of three points (x, y) or more, in pixels.
        size: Height and width of the image.

    Returns:
        ``(H, W)`` bool.

    Raises:
        InputError: A polygon that is none.

    >>> filled([[(0, 0), (2, 0), (0, 2)]], (3, 4)).int().tolist()
    [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
    """
    from PIL import Image, ImageDraw  # noqa: PLC0415 -- only for polygons

    height, width = size
    canvas = Image.new("1", (width, height))
    for polygon in polygons:
        points = torch.as_tensor(polygon, dtype=torch.float64)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not points.isfinite().all():
            message = f"Expected polygons of three points (x, y) or more, got {polygon!r}"
            raise InputError(message)
        ImageDraw.Draw(canvas).polygon([(x, y) for x, y in points.tolist()], fill=1)
    return torch.from_numpy(np.array(canvas))
