"""The neurons that carried a decision, layer by layer, from the logits down to the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn.functional import interpolate

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import Values, grey, literal
from captum_paramsal.viz.layer_neurons import LayerNeurons
from captum_paramsal.viz.style import INK, new_axes, styled

_COLORS = LinearSegmentedColormap.from_list("support", ["#f3d34a", "#35a07b", "#2f5f8f", "#2a1052"])
"""Darkens evenly from yellow to violet, so it reads the same with any kind of colour blindness."""
_PAPER, _FAINT, _FINEST = "#ffffff", 0.35, 160
"""Colour under a map, how dark an image under it may be, and how many pixels of it are worth drawing."""
_FRAME, _WIDEST = 0.95, 1.3
"""Height and greatest width of a map, in inches."""
_CELL, _ROW, _FOOT, _HEAD = 4.9, 1.12, 0.45, 0.35
"""Width and height of a layer's place in the figure, height of the legend and of a title, in inches."""
_ROWS = 12
_LEAST, _ONE, _MOST = 1.5, 7.0, 60.0
"""Areas in square points: of no dot less, of that of one neuron, of no dot more if one neuron can be less."""
_NAMED, _LETTERS, _LETTER = 3, 60, 0.065
"""Channels told by name, letters that fit beside a map, and the width of one, in inches."""


def neurons_plot(
    layers: Mapping[str, Mapping[str, Any]],
    *,
    image: Values | None = None,
    names: Mapping[str, Mapping[int, str]] | None = None,
    columns: int | None = None,
    title: str = "",
) -> Axes:
    """Draw the neurons selected for one image, each layer on a small map of its own.

    A dot stands at each place that neurons were selected at: the more of them, in different channels, the larger; the
    larger their Ω beside the largest of the layer, the darker. Neurons without a place, those of linear layers, stand
    on a line, in the order of their numbers. Beside the map stand the channels that carry most of the layer's Ω, with
    their share of it.

    Args:
        layers: For each layer, from the logits down to the input: ``y`` and ``x`` of each neuron, ``(M,)`` whole
            numbers, its Ω as ``score``, ``(M,)``, its ``channel``, ``(M,)`` whole numbers (left out for pixels), and
            ``size``, the layer's channels, height and width. M may be 0.
        image: ``(1 or 3, H, W)`` with values in [0, 1], shown faintly under each map.
        names: What channels are called, for some layers; such as class names for the output.
        columns: Layers side by side, each column going from top to bottom; by default one for every 12 layers.
        title: Over the figure.

    Returns:
        The axes, on a figure as large as it has to be. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: No layers, arrays that are missing or differ in length, or neurons that lie outside their map.

    >>> logit = {"channel": [5], "y": [0], "x": [0], "score": [1.0], "size": (10, 1, 1)}
    >>> conv = {"channel": [3, 3, 7], "y": [1, 1, 1], "x": [0, 1, 1], "score": [1.0, 1.0, 2.0], "size": (8, 4, 4)}
    >>> ax = neurons_plot({"output": logit, "conv": conv})
    >>> for text in ax.texts[3:6]:
    ...     print(text.get_text())
    conv
    3 neurons: 2 of 8 channels, 2 of 4 x 4 places
    channels 3 (50 %), 7 (50 %)
    """
    gathered = [LayerNeurons.of(name, neurons) for name, neurons in layers.items()]
    if not gathered or (columns is not None and columns < 1):
        message = f"Expected at least one layer and `columns` of at least 1, got {len(gathered)} and {columns}."
        raise InputError(message)
    wide = columns or -(-len(gathered) // _ROWS)
    high = -(-len(gathered) // wide)
    most = max(max(layer.votes.tolist(), default=1) for layer in gathered)
    background = None if image is None else _faint(image)
    with styled():
        axes = new_axes(wide * _CELL, high * _ROW + _FOOT + _HEAD * bool(title))
        for number, layer in enumerate(gathered):
            corner = number // high * _CELL, number % high * _ROW
            _draw_map(axes, layer, corner, background)
            _draw_neurons(axes, layer, corner, most)
            _describe(axes, layer, corner, (names or {}).get(layer.name, {}))
        _draw_legend(axes, high * _ROW + 0.2, most)
        axes.set_xlim(-0.05, wide * _CELL - 0.05)
        axes.set_ylim(high * _ROW + _FOOT - 0.05, -0.05)
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(title)
    return axes


def _width(layer: LayerNeurons) -> float:
    """Width of a layer's map in the figure, in inches."""
    return _WIDEST if layer.is_vector else min(_WIDEST, _FRAME * layer.size[2] / layer.size[1])


def _draw_map(axes: Axes, layer: LayerNeurons, corner: tuple[float, float], background: Tensor | None) -> None:
    left, top = corner
    if layer.is_vector:
        middle = top + _FRAME / 2
        axes.plot((left, left + _width(layer)), (middle, middle), color=INK, linewidth=0.8, zorder=1)
        return
    axes.add_patch(Rectangle((left, top), _width(layer), _FRAME, facecolor=_PAPER, edgecolor="none", zorder=0))
    if background is not None:
        extent = (left, left + _width(layer), top + _FRAME, top)
        axes.imshow(background.numpy(), cmap="gray", vmin=0, vmax=1, extent=extent, zorder=1)
    frame = Rectangle((left, top), _width(layer), _FRAME, fill=False, edgecolor=INK, linewidth=0.6, zorder=2)
    axes.add_patch(frame)


def _draw_neurons(axes: Axes, layer: LayerNeurons, corner: tuple[float, float], most: int) -> None:
    order = layer.support.argsort(stable=True)
    y, x = layer.places[order].double().unbind(dim=1)
    channels, height, width = layer.size
    across = (x + 0.5) / (channels if layer.is_vector else width) * _width(layer)
    down = (y + 0.5) / height * _FRAME
    areas = (layer.votes[order] * _unit(most)).clamp(min=_LEAST)
    colors = _COLORS(layer.support[order].numpy())
    axes.scatter(
        (corner[0] + across).numpy(), (corner[1] + down).numpy(), s=areas.numpy(), c=colors,
        edgecolors=INK, linewidths=0.3, zorder=3,
    )  # fmt: skip


def _describe(axes: Axes, layer: LayerNeurons, corner: tuple[float, float], names: Mapping[int, str]) -> None:
    left, top = corner[0] + _WIDEST + 0.12, corner[1] + 0.1
    lines = (layer.name, _counts(layer), _most_supported(layer, names))
    for number, (line, weight) in enumerate(zip(lines, ("bold", "normal", "normal"), strict=True)):
        shown = line if len(line) <= _LETTERS else line[: _LETTERS - 1] + "…"
        axes.text(left, top + 0.26 * number, literal(shown), fontsize=8, fontweight=weight, verticalalignment="top")


def _counts(layer: LayerNeurons) -> str:
    channels, height, width = layer.size
    if not layer.count:
        return "no neurons"
    if not layer.channels:
        return f"{layer.count} of {height} x {width} pixels"
    neurons = f"{layer.count} neuron" + "s" * (layer.count > 1)
    if layer.is_vector:
        return f"{neurons} of {channels}"
    places = f"{len(layer.places)} of {height} x {width} places"
    return f"{neurons}: {len(layer.channels)} of {channels} channels, {places}"


def _most_supported(layer: LayerNeurons, names: Mapping[int, str]) -> str:
    """The channels that carry most of the layer's Ω, with their share of it."""
    first = list(layer.channels.items())[:_NAMED]
    if not first:
        return ""
    told = ", ".join(
        str(names.get(channel, channel)) + f" ({100 * share:.0f} %)" * (first[0][1] > 0) for channel, share in first
    )
    what = "" if all(channel in names for channel, _ in first) else "number" if layer.is_vector else "channel"
    return f"{what}{'s' * (bool(what) and len(first) > 1)} {told}".strip()


def _draw_legend(axes: Axes, top: float, most: int) -> None:
    keys = [(3 * _ONE, level, text) for level, text in ((0.1, "small"), (0.55, ""), (1.0, "large Ω in its layer"))]
    for votes in sorted({1, round(most**0.5), most}):
        meaning = f"{votes}" + f" neuron{'s' * (votes > 1)} at a place" * (votes == most)
        keys.append((max(_LEAST, votes * _unit(most)), 0.55, meaning))
    place = 0.1
    for area, level, text in keys:
        axes.scatter(place, top, s=area, c=[_COLORS(level)], edgecolors=INK, linewidths=0.3)
        place += 0.08 + area**0.5 / 144
        axes.text(place, top, text, fontsize=8, verticalalignment="center")
        place += 0.17 + _LETTER * len(text)


def _unit(most: int) -> float:
    """Area of the dot of one neuron, where at most this many share a place."""
    return min(_ONE, _MOST / most)


def _faint(image: Values) -> Tensor:
    """A grey copy ``(H, W)`` near white, no larger than it is seen."""
    picture = grey(image)
    scale = min(1.0, _FINEST / max(picture.shape))
    size = [max(1, round(side * scale)) for side in picture.shape]
    small = interpolate(picture[None, None], size, mode="bilinear", antialias=True)[0, 0]
    return 1 - _FAINT * (1 - small)
