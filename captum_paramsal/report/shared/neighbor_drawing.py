"""Mistakes beside their neighbours, for the pages that list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup
from torch import Tensor
from torch.nn.functional import interpolate

from captum_paramsal.sources import Picture
from captum_paramsal.viz import decoded, neighbor_grid, to_svg

SHOWN = 5
"""Mistakes that are drawn with their neighbours, at most."""

_LARGEST = 112
"""Pixels along a picture's longer side: about as large as it is seen."""


def draw_neighbors(
    near: Mapping[int, Sequence[tuple[int, float]]],
    pictures: Mapping[int, Picture],
    classes_of: Mapping[int, tuple[int, int]],
    names: Mapping[int, str],
    words: str,
) -> Markup:
    """Some mistakes with their neighbours, as an ``<svg>``; empty where there are none.

    Args:
        near: Number and similarity of the neighbours of each mistake that is drawn, as many of each, by its number.
        pictures: Of all of these.
        classes_of: True and predicted class of each.
        names: Of classes.
        words: What a person who cannot see the figure should know.
    """
    if not near:
        return Markup()
    shown = list(dict.fromkeys([*near, *(number for others in near.values() for number, _ in others)]))
    axes = neighbor_grid(
        [_small(pictures[number]) for number in shown],
        [shown.index(number) for number in near],
        [[shown.index(number) for number, _ in others] for others in near.values()],
        [[similarity for _, similarity in others] for others in near.values()],
        labels=[classes_of[number][0] for number in shown],
        predicted=[classes_of[number][1] for number in shown],
        names=names,
    )
    return Markup(to_svg(axes, words, prefix="near-"))  # noqa: S704 -- drawn by matplotlib, which escapes its texts


def _small(picture: Picture) -> Tensor:
    pixels = decoded(picture.data, picture.mime)
    share = _LARGEST / max(pixels.shape[1:])
    if share >= 1:
        return pixels
    size = [max(1, round(side * share)) for side in pixels.shape[1:]]
    return interpolate(pixels[None], size, mode="area")[0].clamp(0, 1)
