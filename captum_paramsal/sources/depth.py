"""Pictures with more than 8 bits per pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

_DEEP = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
"""Pillow's modes of them, all of one channel; it cuts their values off at 255."""
_ENDS = (255, 1023, 4095, 16383, 65535)
"""Largest values of 8, 10, 12, 14 and 16 bits."""


def eight_bits(picture: Image.Image) -> Image.Image:
    """A picture as it is, or in grey with 8 bits where its values have more.

    White is the largest value of the fewest bits, out of 8, 10, 12, 14 and 16, that hold all of its values, since
    files seldom say how many of their bits a camera has used; of floating point it is 1 where no value is larger.
    Values below 0 or above 16 bits are scaled between their own smallest and largest.

    Raises:
        ValueError: Values that are not finite.
    """
    from PIL import Image  # noqa: PLC0415

    if picture.mode not in _DEEP:
        return picture
    values = np.asarray(picture).astype(np.float64)
    if not np.isfinite(values).all():
        message = "pixels that are NaN or infinite"
        raise ValueError(message)
    low, high = float(values.min()), float(values.max())
    ends = (1, *_ENDS) if picture.mode == "F" else _ENDS
    white = float(next((end for end in ends if high <= end), 0))
    if low < 0 or not white:
        # A picture of one value has no range.
        values, white = values - low, (high - low) or 1.0
    return Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))
