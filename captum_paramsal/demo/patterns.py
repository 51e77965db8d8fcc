"""The cue: a patch of cloth in the background, with one pattern per class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from captum_paramsal.demo.shapes import Array


def _wave(x: Array) -> Array:
    return np.cos(2 * np.pi * x)


def _checks(x: Array, y: Array) -> Array:
    return 2 * _wave(x / 1.4) * _wave(y / 1.4)


def _dots(x: Array, y: Array) -> Array:
    return _wave(x) + _wave(y) - 0.4


def _falling_stripes(x: Array, y: Array) -> Array:
    return _wave((x - y) / np.sqrt(2))


def _level_stripes(x: Array, y: Array) -> Array:
    return _wave(0 * x + y)


def _mesh(x: Array, y: Array) -> Array:
    return np.maximum(_wave(x / 1.2), _wave(y / 1.2)) - 0.75


def _rising_stripes(x: Array, y: Array) -> Array:
    return _wave((x + y) / np.sqrt(2))


def _upright_stripes(x: Array, y: Array) -> Array:
    return _wave(x + 0 * y)


def _zigzag(x: Array, y: Array) -> Array:
    return _wave(y + np.abs(x / 2 - np.round(x / 2)) * 1.6)


PATTERNS: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {
        "checks": _checks,
        "dots": _dots,
        "falling stripes": _falling_stripes,
        "level stripes": _level_stripes,
        "mesh": _mesh,
        "rising stripes": _rising_stripes,
        "upright stripes": _upright_stripes,
        "zigzag": _zigzag,
    },
)
"""Patterns by name: (x, y) in periods from the middle of the patch -> positive on the light threads."""


def patch_distance(x: Array, y: Array, radius: float) -> Array:
    """Distance to the edge of a patch, a square with round corners, negative inside; all in pixels."""
    corner = 0.4 * radius
    beyond_x, beyond_y = np.abs(x) - radius + corner, np.abs(y) - radius + corner
    outside = np.hypot(np.maximum(beyond_x, 0), np.maximum(beyond_y, 0))
    return outside + np.minimum(np.maximum(beyond_x, beyond_y), 0) - corner
