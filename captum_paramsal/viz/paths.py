"""One picture of the way from a class through a filter to the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.filters import Filter
from captum_paramsal.graph import Region
from captum_paramsal.traces import Restriction, Trace, runs_of
from captum_paramsal.viz.inputs import NamesOfClasses, Values, as_values, class_label, grey, literal
from captum_paramsal.viz.style import INK, PALETTE, new_axes, styled

_GUILTY, _OTHER, _POINT = PALETTE[1], PALETTE[0], PALETTE[5]
"""The filter in vermilion, other layers in blue; pixels in sky blue, which is seen on any grey picture."""
_PALE, _LIGHT = "#d9d9d9", "#ffffff"
_ROWS, _HEAD, _FOOT = 12, 0.85, 0.55
"""How many layers are told at most, and the height of what stands above and below the maps, in inches."""
_NAMES, _BARS, _COUNTS = 2.25, (2.35, 3.65), 3.75
"""Where names end, where bars begin and end, and where counts begin."""
_MAP, _IMAGE = (5.1, 1.9), (7.5, 2.9)
"""Left edge and longest side of the filter's map, and of the image."""
_RIGHT, _LETTER, _HIGHEST = _IMAGE[0] + _IMAGE[1], 0.072, 0.34
"""Where the figure ends, the width of a letter, and the greatest height of a layer's line."""
_LONGEST, _SHORT, _LONG = 30, 30, 48
"""Letters of a layer's name at most, and of a line of words below the map and below the image."""


@dataclass(frozen=True)
class _Way:
    """One image's part of a trace that goes through a filter.

    Attributes:
        trace: The trace.
        image: Which image.
        item: The filter.
        restriction: What the trace was restricted to.
        places: Where it passes through the filter, the strongest first.
    """

    trace: Trace
    image: int
    item: Filter
    restriction: Restriction
    places: Tensor

    @classmethod
    def of(cls, trace: Trace, image: int) -> _Way:
        restriction = Restriction.required(trace.restriction)
        if len(trace.shape) != 4 or not 0 <= image < trace.shape[0]:
            message = f"Expected a trace of images (N, C, H, W) and the number of one, got {trace.shape} and {image}."
            raise InputError(message)
        return cls(trace, image, restriction.filters[image], restriction, trace.filter_places(image))

    @property
    def runs(self) -> list[str]:
        """Names of the filter's layer in the trace."""
        return runs_of(self.item.layer, self.trace.layers)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the map that the places are in."""
        layers = self.trace.layers
        name = next(run for run in self.runs if len(layers[run].of_image(self.image)))
        return layers[name].size[1:]

    def lines(self) -> list[_Line]:
        """The layers on the way, or all of the trace where there is none."""
        reached, lines = len(self.places) > 0, []
        for name, neurons in self.trace.layers.items():
            kept, whole = int((neurons.image == self.image).sum()), int(self.restriction.counts[name][self.image])
            guilty = name in self.runs and (kept > 0 or not reached)
            if guilty or (kept if reached else whole):
                lines.append(_Line(str(self.item) if guilty else name, kept, whole, guilty))
        return _few(lines)

    def why_not(self) -> str:
        """What to say where the trace does not reach the filter."""
        layer = self.item.layer
        count = sum(int(self.restriction.counts[name][self.image]) for name in self.runs)
        kept = f"keeps {count} neurons of {layer}, none of this filter" if count else f"has no neuron of {layer}"
        return (
            f"No way through {self.item}: the trace {kept}. That does not clear it, since a trace keeps only the "
            "neurons that carried most. With a larger top_k, linear_top_k or places it keeps more."
        )


@dataclass(frozen=True)
class _Line:
    """A layer in the list: its neurons on the way, and all of the trace; or how many layers are left out."""

    name: str
    kept: int = 0
    whole: int = 0
    guilty: bool = False
    left_out: int = 0


@dataclass(frozen=True)
class _Frame:
    """Where a map lies in the figure, in inches, and how many places it has."""

    left: float
    top: float
    width: float
    height: float
    rows: int
    columns: int

    @classmethod
    def of(cls, left: float, longest: float, size: tuple[int, int]) -> _Frame:
        scale = longest / max(size)
        return cls(left, _HEAD, size[1] * scale, size[0] * scale, *size)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        return self.left, self.left + self.width, self.top + self.height, self.top

    def box(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[float, float, float, float]:
        """Left, top, width and height of a part, given by its first and last row and column."""
        across, down = self.width / self.columns, self.height / self.rows
        left, top = self.left + columns[0] * across, self.top + rows[0] * down
        return left, top, (columns[1] - columns[0] + 1) * across, (rows[1] - rows[0] + 1) * down

    def middles(self, places: Tensor) -> tuple[list[float], list[float]]:
        """Where the middles of places ``(P, 2)`` are, across and down."""
        y, x = (places.double() + 0.5).unbind(dim=1)
        across = self.left + x / self.columns * self.width
        return across.tolist(), (self.top + y / self.rows * self.height).tolist()


def path_plot(
    trace: Trace,
    picture: Values,
    image: int = 0,
    *,
    names: NamesOfClasses = None,
    label: int | None = None,
    confidence: float | None = None,
    fields: Sequence[Region | None] = (),
    activation: Values | None = None,
    title: str = "",
) -> Axes:
    """Draw the way of a decision through one filter: the class, the layers, the filter's places, the pixels.

    From left to right: the layers from the class score down to the image, with a bar for the share of the trace's
    neurons that are on the way, the filter's layer in vermilion; the filter's map, with the places that the way passes;
    the image, with the pixels that it ends in, and a box around what the filter sees from its strongest place, thinner
    ones for other places. Where the trace does not reach the filter, the figure says so in words.

    Args:
        trace: A trace that goes through a filter, ``trace(..., through=...)``, of images ``(N, C, H, W)``.
        picture: The image ``(1 or 3, h, w)`` with values in [0, 1], in this or another resolution.
        image: Which image of the trace it is.
        names: Of the classes, by number.
        label: The true class, if it is to be told.
        confidence: Probability of the class that was traced, likewise.
        fields: What the filter sees from its first places, in the order of
            :meth:`captum_paramsal.Trace.filter_places`, such as :func:`captum_paramsal.graph.receptive_fields` finds;
            None for the whole image.
        activation: The filter's map ``(h, w)``, drawn under its places: the brighter, the larger.
        title: Over the figure.

    Returns:
        The axes, on a figure as large as it has to be. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: A trace that is not restricted to a filter or not of images, no such image, or maps of another
            shape.

    >>> import torch
    >>> from torch import nn
    >>> from captum_paramsal import DiscernibleNeurons, Filter
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> photo = torch.rand(1, 3, 8, 8)
    >>> trace = DiscernibleNeurons(model).trace(photo, target=1, through=Filter("0", 1))
    >>> ax = path_plot(trace, photo[0], names=["cat", "dog"], label=0)
    >>> ax.texts[0].get_text()
    'seen as dog, is cat'
    """
    way, plain = _Way.of(trace, image), grey(picture)
    lines = way.lines()
    left = _NAMES - _LETTER * max(len(_cut(line.name)) for line in lines)
    high = _HEAD + _IMAGE[1] + _FOOT
    with styled():
        axes = new_axes(_RIGHT - left + 0.1, high + 0.05 + 0.3 * bool(title))
        _draw_head(axes, left, way, (names, label, confidence))
        joint = _draw_lines(axes, lines)
        frame = _Frame.of(_IMAGE[0], _IMAGE[1], (plain.shape[0], plain.shape[1]))
        axes.imshow(plain.numpy(), cmap="gray", vmin=0, vmax=1, extent=frame.extent, interpolation="nearest")
        if len(way.places):
            _draw_filter(axes, way, activation, joint)
            _draw_pixels(axes, way, frame, fields)
        else:
            _write(axes, (_MAP[0], _HEAD), way.why_not(), _SHORT, _GUILTY)
        axes.set_xlim(left - 0.05, _RIGHT + 0.05)
        axes.set_ylim(high, -0.05)
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(title)
    return axes


def _few(lines: list[_Line]) -> list[_Line]:
    """Of many layers the ends and those near the filter, and how many are left out between."""
    middle = next((number for number, line in enumerate(lines) if line.guilty), 0)
    near = sorted(range(1, len(lines) - 1), key=lambda number: abs(number - middle))[: _ROWS - 2]
    shown: list[_Line] = []
    for number, line in enumerate(lines):
        if number in {0, len(lines) - 1, *near}:
            shown.append(line)
        elif shown[-1].left_out:
            shown[-1] = _Line("", left_out=shown[-1].left_out + 1)
        else:
            shown.append(_Line("", left_out=1))
    return shown


def _draw_head(axes: Axes, left: float, way: _Way, told: tuple[NamesOfClasses, int | None, float | None]) -> None:
    names, label, confidence = told
    traced, output = int(way.trace.labels[way.image]), way.trace.layers["output"]
    words = f"seen as {class_label(names, traced)}"
    if label is not None:
        words += f", is {class_label(names, label)}" if label != traced else ", rightly"
    score = output.score[(output.image == way.image) & (output.channel == traced)].tolist()
    numbers = [f"score {score[0]:.4g}"] if score else []
    numbers += [] if confidence is None else [f"confidence {100 * confidence:.0f} %"]
    axes.text(left, 0.05, words, fontsize=12, fontweight="bold", va="top")
    axes.text(left, 0.37, ", ".join(numbers), fontsize=9, va="top")


def _draw_lines(axes: Axes, lines: Sequence[_Line]) -> tuple[float, float]:
    """The list of layers; where the filter's line ends, from which the way goes on to its map."""
    axes.text(_BARS[0], _HEAD - 0.04, "neurons on the way, of all of the trace", fontsize=7, va="bottom")
    joint, high = (_COUNTS, _HEAD), min(_HIGHEST, _IMAGE[1] / len(lines))
    for number, line in enumerate(lines):
        middle = _HEAD + (number + 0.5) * high
        if line.left_out:
            words = f"{line.left_out} more layer{'s' * (line.left_out > 1)}"
            axes.text(_NAMES, middle, words, fontsize=7, fontstyle="italic", ha="right", va="center")
            continue
        color, weight = (_GUILTY, "bold") if line.guilty else (INK, "normal")
        name, counts = _cut(line.name), f"{line.kept} of {line.whole}"
        axes.text(_NAMES, middle, name, fontsize=8, ha="right", va="center", color=color, fontweight=weight)
        axes.text(_COUNTS, middle, counts, fontsize=8, va="center", color=color, fontweight=weight)
        for share, shade in ((1.0, _PALE), (line.kept / max(line.whole, 1), _GUILTY if line.guilty else _OTHER)):
            corner, width = (_BARS[0], middle - 0.08), share * (_BARS[1] - _BARS[0])
            axes.add_patch(Rectangle(corner, width, 0.16, facecolor=shade, edgecolor="none"))
        if line.guilty:
            joint = (_COUNTS + _LETTER * len(counts) + 0.1, middle)
    return joint


def _draw_filter(axes: Axes, way: _Way, activation: Values | None, joint: tuple[float, float]) -> None:
    """The filter's map with the places on the way, and the arrows to it and from it."""
    frame = _Frame.of(*_MAP, way.size)
    corner = frame.left, frame.top
    axes.add_patch(Rectangle(corner, frame.width, frame.height, facecolor=_PALE, edgecolor=INK, linewidth=0.6))
    if activation is not None:
        shares = as_shades(activation, way.size)
        axes.imshow(shares.numpy(), cmap="gray", vmin=0, vmax=1, extent=frame.extent, interpolation="nearest", zorder=2)
    x, y = frame.middles(way.places)
    across = min(8.0, 72 * frame.width / frame.columns * 0.7)
    axes.scatter(x, y, s=across**2, c=_GUILTY, edgecolors=_LIGHT, linewidths=0.6, zorder=5)
    inlet = frame.left, frame.top + frame.height / 2
    outlet = frame.left + frame.width, frame.top + frame.height / 2
    for start, end in ((joint, inlet), (outlet, (_IMAGE[0], outlet[1]))):
        arrow = {"arrowstyle": "->", "color": _GUILTY, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 1}
        axes.annotate("", end, start, arrowprops=arrow)
    count = f"{len(way.places)} of {frame.rows} x {frame.columns} places"
    words = f"{way.item}: {count if frame.rows * frame.columns > 1 else 'one number'}."
    share = float(way.trace.shares()["input"][way.image])
    if share > 0:
        words += f" {100 * share:.0f} % of where the trace ends is reached through it."
    _write(axes, (frame.left, frame.top + frame.height + 0.08), words, _SHORT)


def _draw_pixels(axes: Axes, way: _Way, frame: _Frame, fields: Sequence[Region | None]) -> None:
    """The pixels that the way ends in, and what the filter sees from its places."""
    height, width = way.trace.shape[2:]
    points = way.trace.points(way.image, outliers=True)
    map_ = _Frame(frame.left, frame.top, frame.width, frame.height, height, width)
    axes.scatter(*map_.middles(points), s=14, c=_POINT, edgecolors=INK, linewidths=0.5, zorder=6)
    words = f"{len(points)} pixel{'s' * (len(points) != 1)} at the end."
    for number, region in enumerate(fields):
        rows, columns = region or ((0, height - 1), (0, width - 1))
        left, top, across, down = map_.box(rows, columns)
        for color, line in ((INK, 2.6), (_LIGHT, 1.2)) if number == 0 else ((_LIGHT, 0.6),):
            axes.add_patch(Rectangle((left, top), across, down, fill=False, edgecolor=color, linewidth=line, zorder=4))
        if number == 0:
            seen = f"{rows[1] - rows[0] + 1} x {columns[1] - columns[0] + 1}"
            words += f" The box is what the filter sees from its strongest place, {seen} pixels."
    _write(axes, (frame.left, frame.top + frame.height + 0.08), words, _LONG)


def as_shades(activation: Values, size: tuple[int, int]) -> Tensor:
    """A map from its smallest value, 0, to its largest, 1."""
    values = as_values(activation).float()
    if values.shape != size or not values.isfinite().all():
        message = f"Expected the filter's map {size} of finite numbers, got {tuple(values.shape)}."
        raise InputError(message)
    least, most = values.aminmax()
    return (values - least) / (most - least).clamp(min=torch.finfo(values.dtype).tiny)


def _write(axes: Axes, corner: tuple[float, float], words: str, letters: int, color: str = INK) -> None:
    axes.text(*corner, fill(literal(words), letters), fontsize=8, va="top", color=color)


def _cut(name: str) -> str:
    """The end of a long name, which says more than its beginning."""
    return literal(name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}")
