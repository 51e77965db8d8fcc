"""A small canvas with anti-aliased paint, with numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from captum_paramsal.demo.shapes import Array

SIZE = 64
"""Height and width of an image, in pixels."""


@dataclass(frozen=True)
class Region:
    """The part of the canvas within `reach` pixels of a place, so that small things cost little.

    Attributes:
        rows: Rows of the canvas.
        columns: Columns of the canvas.
        x: (1, w) pixel centres from the place, to the right, in pixels.
        y: (h, 1) pixel centres from the place, down, in pixels.
    """

    rows: slice
    columns: slice
    x: Array
    y: Array

    @staticmethod
    def around(centre: Array, reach: float) -> Region:
        """The window around (x, y), cut off at the edge of the canvas."""
        first = np.maximum(np.floor(centre - reach), 0).astype(int).tolist()
        last = np.minimum(np.ceil(centre + reach), SIZE).astype(int).tolist()
        x, y = (np.arange(first[axis], last[axis]) + 0.5 - centre[axis] for axis in (0, 1))
        return Region(slice(first[1], last[1]), slice(first[0], last[0]), x[None, :], y[:, None])

    def mask(self, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask of the whole canvas (SIZE, SIZE) from one of this window (h, w)."""
        whole = np.zeros((SIZE, SIZE), bool)
        whole[self.rows, self.columns] = inside
        return whole


def rgb(hue: float, saturation: float, lightness: float) -> Array:
    """A colour, (3,) in [0, 1], from hue (in turns), saturation and lightness, all in [0, 1].

    >>> rgb(0.0, 1.0, 0.5)
    array([1., 0., 0.])
    """
    place = (np.array([0, 8, 4]) + 12 * hue) % 12
    spread = saturation * min(lightness, 1 - lightness)
    return lightness - spread * np.clip(np.minimum(place - 3, 9 - place), -1, 1)


def coverage(distance: Array) -> Array:
    """The part of each pixel, in [0, 1], that a thing covers whose edge is `distance` pixels away."""
    return np.clip(0.5 - distance, 0, 1)


def lay(canvas: Array, window: Region, covered: Array, colour: Array) -> None:
    """Paint over a window of the canvas (SIZE, SIZE, 3), in place.

    Args:
        canvas: What is painted over.
        window: Where.
        covered: (h, w) part of each pixel that the paint covers.
        colour: (3,) or (h, w, 3).
    """
    below = canvas[window.rows, window.columns]
    below += covered[..., None] * (colour - below)


def backdrop(random: RandomState, upper: Array, lower: Array) -> Array:
    """A canvas (SIZE, SIZE, 3) that goes softly from one colour to another, with pale and dark clouds."""
    cells = 7
    # Cosine weights between the points of a coarse grid.
    place = (np.arange(SIZE) + 0.5) / SIZE * (cells - 1)
    near = np.clip(1 - np.abs(place[:, None] - np.arange(cells)), 0, 1)
    weights = (1 - np.cos(np.pi * near)) / 2
    clouds = weights @ random.uniform(-1, 1, (cells, cells)) @ weights.T
    down = np.linspace(0, 1, SIZE)[:, None] + 0.25 * clouds
    canvas: Array = upper + down[..., None] * (lower - upper) + 0.035 * clouds[..., None]
    return canvas
