"""What a card shows of the way from a wrong class through a guilty filter to the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from captum_paramsal.filters import Filter
from captum_paramsal.report.explain.data import ExplanationData, Mistake
from captum_paramsal.report.explain.exemplar_section import ExemplarRow
from captum_paramsal.report.explain.trace_records import FilterPath, PathDrawing
from captum_paramsal.report.explain.trace_section import dots_path
from captum_paramsal.traces import runs_of
from captum_paramsal.viz.traces import point_width

_CROPS = 3
"""Exemplars of the filter beside its map."""
_HIGH, _BAR, _STEP = 24, 6, 8
"""Units of the drawing of layers: its height, the width of a bar, and from one to the next."""
_LARGER = 1.6
"""Than the points of a whole trace, which are many."""


@dataclass(frozen=True)
class PathBars:
    """A bar for each layer, from the class score to the image: how much of the trace is on the way.

    Attributes:
        width: Of the drawing, as high as all of a layer's share of the trace.
        kept: SVG path of the shares that are on the way, the filter's layer apart.
        guilty: The same of the filter's layer.
    """

    width: int
    kept: str
    guilty: str


@dataclass(frozen=True)
class PathTile:
    """The way of one mistake.

    Attributes:
        path: What is said of it.
        first: The guiltiest filter.
        filter: The guiltiest that the trace passes; None where it passes none of those that were looked for.
        link: Where the page shows what this filter looks for; empty for nowhere.
        crops: What it sees in its first exemplars.
        neurons: Of its layer's neurons in the trace, its own, and all.
        drawing: Where the way leads; None where the image has no picture.
        bars: The layers.
        size: Height and width of the model's input.
    """

    path: FilterPath
    first: Filter
    filter: Filter | None
    link: str
    crops: Sequence[int]
    neurons: tuple[int, int]
    drawing: PathDrawing | None
    bars: PathBars
    size: tuple[int, int]

    @property
    def dots(self) -> str:
        """SVG path of the pixels, half a pixel up and left."""
        return dots_path(self.drawing.points) if self.drawing else ""

    @property
    def dot(self) -> float:
        """Width of a pixel's dot, in pixels of the model's input."""
        return round(_LARGER * point_width(self.size[1], self.path.pixels), 3)

    @property
    def places(self) -> str:
        """SVG path of the places in the filter's map, half a place up and left."""
        return dots_path(self.drawing.places) if self.drawing else ""

    @property
    def place(self) -> float:
        """Width of a place's dot, in places of the map."""
        return round(max(1.0, max(self.drawing.size) / 14), 2) if self.drawing else 0.0


def path_tile(explanation: ExplanationData, mistake: Mistake, rows: Sequence[ExemplarRow]) -> PathTile | None:
    """What the card of a mistake shows; None where its trace is empty, no filter is guilty, or nobody looked.

    Args:
        explanation: All mistakes.
        mistake: One of them.
        rows: What the page shows of the suspects' exemplars.
    """
    path, traced = explanation.paths.get(mistake.position), explanation.tracing
    empty = mistake.traces is None or not mistake.traces.predicted.pixels
    if path is None or not path.tried or empty or traced is None or traced.size is None:
        return None
    passed = None if path.rank is None else mistake.filters[path.rank - 1].filter
    known = next((row for row in rows if row.exemplars.filter == passed), None)
    crops = [tile.picture for tile in known.tiles if tile.picture is not None] if known else []
    own = runs_of(passed.layer, [layer.layer for layer in path.layers]) if passed else []
    counts = [(layer.neurons, layer.whole) for layer in path.layers if layer.layer in own]
    return PathTile(
        path=path,
        first=mistake.filters[0].filter,
        filter=passed,
        link=known.anchor if known else "",
        crops=crops[:_CROPS],
        neurons=(sum(kept for kept, _ in counts), sum(whole for _, whole in counts)),
        drawing=explanation.path_drawings.get(mistake.position),
        bars=_bars(path, own),
        size=traced.size,
    )


def _bars(path: FilterPath, own: Sequence[str]) -> PathBars:
    heights = [round(_HIGH * layer.neurons / layer.whole, 1) for layer in path.layers]
    drawn: dict[bool, list[str]] = {True: [], False: []}
    for place, (layer, height) in enumerate(zip(path.layers, heights, strict=True)):
        if height:
            drawn[layer.layer in own].append(_bar(place, height))
    return PathBars(_STEP * len(heights), "".join(drawn[False]), "".join(drawn[True]))


def _bar(place: int, height: float) -> str:
    return f"M{_STEP * place + 1} {_HIGH}v-{height:g}h{_BAR}v{height:g}z"
