"""Images by methods: every map beside those of the others."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import ArrayLike
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import literal
from captum_paramsal.viz.placing import place_picture
from captum_paramsal.viz.signed_maps import MAP_COLORS, SCALE_WORDS, MapScale, map_scales, presentable, signed_overlay
from captum_paramsal.viz.style import new_axes, styled

_SIDE = 1.25


def comparison_grid(
    pictures: Sequence[ArrayLike | Tensor] | Tensor,
    maps: Sequence[ArrayLike | Tensor] | Tensor,
    methods: Sequence[str],
    ax: Axes | None = None,
    *,
    names: Sequence[str] | None = None,
    title: str = "",
    scale: MapScale = "map",
) -> Axes:
    """Draw each image, and beside it every method's map of it: red where it is for the class, blue where against.

    Full colour is the 99th percentile of absolute values. Methods have units of their own, so by default it is that of
    each map: what is compared is where a map is strong, and with which sign, not how large its numbers are. The bar
    says which maps share a scale.

    Args:
        pictures: N of ``(C, H, W)``, of one size or several; what is not in [0, 1] is stretched to it.
        maps: N of ``(M, H, W)``, signed. A map that is the same everywhere, or not finite, says so in words.
        methods: M names.
        ax: Where to draw; by default on a new figure.
        names: One per image.
        title: Over the grid.
        scale: Which maps share a scale: "map", none; "method", those of each method, so that its weaker maps are paler;
            "common", all, for maps of one unit.

    Returns:
        The axes, where image n and method m have the unit square at m + 1, n. Nothing is shown;
        ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: No image, not as many names, pictures and maps, or another scale.

    >>> import torch
    >>> ax = comparison_grid(torch.rand(2, 3, 8, 8), torch.randn(2, 3, 8, 8), ["a", "b", "c"])
    >>> len(ax.images), [label.get_text() for label in ax.get_xticklabels()]
    (8, ['image', 'a', 'b', 'c'])
    """
    shown, drawn = ([torch.as_tensor(picture).detach().cpu() for picture in given] for given in (pictures, maps))
    titles = [""] * len(shown) if names is None else list(names)
    _require_match(shown, drawn, methods, titles)
    rows, columns = len(shown), len(methods) + 1
    full = map_scales([list(of_image) for of_image in drawn], scale)
    with styled():
        axes = new_axes(_SIDE * columns + 1.6, _SIDE * rows + 1.3) if ax is None else ax
        for row, (picture, of_image) in enumerate(zip(shown, drawn, strict=True)):
            place_picture(axes, presentable(picture), row, 0)
            for column, values in enumerate(of_image, 1):
                place_picture(axes, signed_overlay(picture, values, full[row][column - 1]), row, column)
                _remark(axes, values, row, column)
        axes.set_xlim(0, columns)
        axes.set_ylim(rows, 0)
        axes.set_aspect("equal")
        axes.set_xticks([column + 0.5 for column in range(columns)], ["image", *map(literal, methods)])
        for name in axes.get_xticklabels() if columns > 3 else ():
            name.set(rotation=35, horizontalalignment="left", rotation_mode="anchor")
        axes.set_yticks([row + 0.5 for row in range(rows)], [literal(title) for title in titles])
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)
        shades = ScalarMappable(Normalize(-1, 1), mpl.colormaps[MAP_COLORS])
        bar = axes.figure.colorbar(shades, ax=axes, ticks=[-1, 0, 1], fraction=0.02, pad=0.02)
        ends = f" {full[0][0]:.2g}" if scale == "common" else ""
        bar.ax.set_yticklabels([f"against{ends}", "0", f"for{ends}"])
        bar.set_label(SCALE_WORDS[scale])
        axes.set_title(title)
    return axes


def _remark(axes: Axes, values: Tensor, row: int, column: int) -> None:
    known = values[values.isfinite()]
    if not len(known):
        words = "no map"
    elif len(known) < values.numel():
        words = "not finite"
    elif bool(known.max() == known.min()):
        words = "the same\neverywhere"
    else:
        return
    axes.text(column + 0.5, row + 0.5, words, ha="center", va="center", fontsize=8, color="#000000")


def _require_match(
    pictures: Sequence[Tensor], maps: Sequence[Tensor], methods: Sequence[str], names: Sequence[str]
) -> None:
    counts = {len(pictures), len(maps), len(names)}
    wrong = [tuple(group.shape) for group in maps if group.ndim != 3 or len(group) != len(methods)]
    if len(counts) > 1 or not len(pictures) or not methods or wrong:
        message = (
            f"Expected at least one picture, as many maps and names, and {len(methods)} maps (M, H, W) of each, got "
            f"{len(pictures)} pictures, {len(maps)} maps, {len(names)} names" + (f", {wrong[0]}." if wrong else ".")
        )
        raise InputError(message)
