"""The objects: one closed outline per class, and how far each pixel lies from an outline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CURVE_POINTS = 40  # At a few tens of pixels, more points cannot be told from these.


def _angles(start: float, stop: float, points: int) -> Array:
    """Angles in radians, from `start` up to but without `stop`, both in turns."""
    return 2 * np.pi * (start + (stop - start) * np.arange(points) / points)


def _arc(start: float, stop: float, points: int = CURVE_POINTS) -> Array:
    angle = _angles(start, stop, points)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _mirrored(right: Sequence[tuple[float, float]]) -> Array:
    """A closed outline from its right half, top to bottom."""
    return np.array([*right, *((-x, y) for x, y in reversed(right) if x > 0)])


def _arrow() -> Array:
    return _mirrored([(0, -1), (0.82, -0.05), (0.32, -0.05), (0.32, 0.95)])


def _cross() -> Array:
    return _mirrored([(0.33, -1), (0.33, -0.33), (1, -0.33), (1, 0.33), (0.33, 0.33), (0.33, 1)])


def _drop() -> Array:
    angle = _angles(0, 1, CURVE_POINTS)
    return np.stack([0.92 * np.sin(angle) * np.sin(angle / 2) ** 1.6, -np.cos(angle)], axis=1)


def _fish() -> Array:
    body = _arc(0.045, 0.955) * [0.75, 0.56] - [0.25, 0]
    tail = np.array([(1, -0.6), (0.86, 0), (1, 0.6)])
    return np.concatenate([body, tail])


def _heart() -> Array:
    angle = _angles(0, 1, CURVE_POINTS)
    height = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
    return np.stack([16 * np.sin(angle) ** 3, -height], axis=1)


def _moon() -> Array:
    horn = _arc(0.14, 1)[0]
    centre = np.array([0.55, 0])  # of the circle that is bitten out, through both horns
    reach = float(np.arctan2(horn[1], horn[0] - centre[0]) / (2 * np.pi))
    bite = centre + np.linalg.norm(horn - centre) * _arc(1 - reach, reach, CURVE_POINTS // 2)
    return np.concatenate([_arc(0.14, 0.86), bite])


def _star() -> Array:
    points = _arc(-0.25, 0.75, 10)
    points[1::2] *= 0.46
    return points


def _fitted(*contours: Array) -> tuple[Array, ...]:
    """The contours, their box moved to the origin, scaled so that the farthest point is one unit away."""
    points = np.concatenate(contours)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    reach = np.linalg.norm(points - centre, axis=1).max()
    return tuple((contour - centre) / reach for contour in contours)


OUTLINES: Mapping[str, tuple[Array, ...]] = MappingProxyType(
    {
        "arrow": _fitted(_arrow()),
        "cross": _fitted(_cross()),
        "drop": _fitted(_drop()),
        "fish": _fitted(_fish()),
        "heart": _fitted(_heart()),
        "moon": _fitted(_moon()),
        "ring": _fitted(_arc(0, 1), 0.52 * _arc(0, 1, CURVE_POINTS // 2)),
        "star": _fitted(_star()),
    },
)
"""Closed contours of each class in the unit circle, x to the right, y down; a second contour is a hole."""


def edges(contours: Sequence[Array], radius: float, turn: float) -> Array:
    """Size and turn contours of the unit circle.

    Args:
        contours: Closed contours, (V, 2) each.
        radius: Length of one unit, in pixels.
        turn: Clockwise rotation, in radians.

    Returns:
        (E, 2, 2): start and end of every edge, (x, y) in pixels from the middle.
    """
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    pairs = [np.stack([contour, np.roll(contour, -1, axis=0)], axis=1) for contour in contours]
    return np.asarray(np.concatenate(pairs) @ rotation * radius)


def signed_distance(x: Array, y: Array, outline: Array) -> Array:
    """Distance of points to an outline, negative inside, by the even-odd rule.

    Args:
        x: Places to the right, in pixels.
        y: Places down, in pixels; broadcast against `x`.
        outline: (E, 2, 2) edges, as `edges` returns them.

    Returns:
        Distances in pixels, in the common shape of `x` and `y`.

    >>> square = edges([np.array([(-1.0, -1), (1, -1), (1, 1), (-1, 1)])], 2.0, 0.0)
    >>> signed_distance(np.array([0.0, 5.0, 5.0]), np.array([0.0, 0.0, 6.0]), square)
    array([-2.,  3.,  5.])
    """
    x, y = x[..., None], y[..., None]
    (x0, y0), (x1, y1) = outline[:, 0].T, outline[:, 1].T
    dx, dy = x1 - x0, y1 - y0
    from_start_x, from_start_y = x - x0, y - y0
    along = np.clip((from_start_x * dx + from_start_y * dy) / (dx * dx + dy * dy), 0, 1)
    squared = (from_start_x - along * dx) ** 2 + (from_start_y - along * dy) ** 2
    # A ray to the right meets an edge that spans the point's height and lies to the point's right.
    spans = (y0 > y) != (y1 > y)
    meets = spans & ((from_start_x * dy < from_start_y * dx) == (dy > 0))
    inside = np.logical_xor.reduce(meets, axis=-1)
    distance: Array = np.sqrt(squared.min(axis=-1))
    return np.where(inside, -distance, distance)
