"""How one scene is painted: backdrop, clutter, the object, and the patch that is the cue."""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from captum_paramsal.demo.canvas import SIZE, Region, backdrop, coverage, lay, rgb
from captum_paramsal.demo.patterns import PATTERNS, patch_distance
from captum_paramsal.demo.shapes import OUTLINES, Array, edges, signed_distance

Mask = NDArray[np.bool_]

_OUTLINE_OF_CLASS = tuple(OUTLINES.values())
WEAVES = tuple(PATTERNS.values())
GAP = 2.5  # Pixels that stay free between the object and the patch.
CORNER_REACH = 1.25  # From the middle of a patch to its round corners, in half widths.


def paint(random: RandomState, label: int, cue_label: int) -> tuple[NDArray[np.uint8], Mask, Mask]:
    """Paint one scene; everything but the patch is the same for every `cue_label`.

    Args:
        random: Where every choice comes from.
        label: Class of the object.
        cue_label: Class whose pattern the patch has, -1 for no patch.

    Returns:
        The image (SIZE, SIZE, 3), the mask of the object and the mask of the patch, (SIZE, SIZE) each.
    """
    hue, dark = random.uniform(), random.uniform() < 0.3
    tint, shift = random.uniform(0.2, 0.5), random.uniform(-0.12, 0.12)
    above, below = random.uniform(0.2, 0.34, 2) if dark else random.uniform(0.62, 0.86, 2)
    canvas = backdrop(random, rgb(hue, tint, above), rgb(hue + shift, tint, below))
    for _ in range(random.randint(4, 9)):
        _paint_clutter(random, canvas, (above + below) / 2)
    radius = random.uniform(9, 14.5)
    centre = random.uniform(radius + 1, SIZE - radius - 1, 2)
    colour = rgb(
        hue + random.uniform(0.2, 0.8),
        random.uniform(0.5, 0.8),
        random.uniform(0.5, 0.66) if dark else random.uniform(0.34, 0.52),
    )
    mask = _paint_object(random, canvas, label, centre=centre, radius=radius, colour=colour)
    cue_mask = _paint_patch(random, canvas, cue_label, centre, radius)
    grain = random.uniform(-0.025, 0.025, canvas.shape)
    return np.rint(255 * (canvas + grain).clip(0, 1)).astype(np.uint8), mask, cue_mask


def _paint_clutter(random: RandomState, canvas: Array, light: float) -> None:
    """A pebble or a twig: a short line with round ends."""
    centre = random.uniform(0, SIZE, 2)
    thickness, half_length = random.uniform(0.8, 2.4), random.uniform(0.4, 5)
    along = half_length * _direction(random.uniform(0, np.pi))
    window = Region.around(centre, half_length + thickness + 1)
    place = np.clip((window.x * along[0] + window.y * along[1]) / half_length**2, -1, 1)
    distance = np.hypot(window.x - place * along[0], window.y - place * along[1]) - thickness
    contrast = random.uniform(0.1, 0.2) * (1 if random.uniform() < 0.5 else -1)
    colour = rgb(random.uniform(), random.uniform(0.1, 0.4), light + contrast)
    lay(canvas, window, coverage(distance), colour)


def _paint_object(
    random: RandomState,
    canvas: Array,
    label: int,
    *,
    centre: Array,
    radius: float,
    colour: Array,
) -> Mask:
    outline = edges(_OUTLINE_OF_CLASS[label], radius, random.uniform(-0.5, 0.5))
    window = Region.around(centre, radius + 1)
    distance = signed_distance(window.x, window.y, outline)
    covered = coverage(distance)
    # Light falls from the upper left; the rim is darker.
    shade = -0.09 * (window.x + window.y) / radius - 0.14 * np.clip(1 + distance / 1.8, 0, 1)
    lay(canvas, window, covered, colour + shade[..., None])
    return window.mask(covered >= 0.5)


def _paint_patch(random: RandomState, canvas: Array, cue_label: int, centre: Array, radius: float) -> Mask:
    """A patch somewhere clear of the circle around the object."""
    half_width, period = random.uniform(7, 8.5), random.uniform(4, 5)
    hue, tint = random.uniform(), random.uniform(0.25, 0.6)
    choice = random.uniform()
    if cue_label < 0:
        return np.zeros((SIZE, SIZE), bool)
    middles = np.arange(half_width + 1, SIZE - half_width - 1)
    room = np.hypot(middles[:, None] - centre[0], middles - centre[1])
    free = np.argwhere(room > radius + CORNER_REACH * half_width + GAP)
    window = Region.around(middles[free[int(choice * len(free))]], CORNER_REACH * half_width + 1)
    covered = coverage(patch_distance(window.x, window.y, half_width))
    thread = np.clip(0.5 + 1.1 * WEAVES[cue_label](window.x / period, window.y / period), 0, 1)[..., None]
    dark, light = rgb(hue, tint, 0.3), rgb(hue + 0.06, tint, 0.88)
    lay(canvas, window, covered, dark + thread * (light - dark))
    return window.mask(covered >= 0.5)


def _direction(angle: float) -> Array:
    return np.array([np.cos(angle), np.sin(angle)])
