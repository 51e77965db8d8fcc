"""The way of the evidence for a wrong class through a guilty filter: what of a trace goes through it, and where."""

from __future__ import annotations

from collections.abc import Container, Sequence
from contextlib import ExitStack

from torch import Tensor

from captum_paramsal.attr import TraceAttribution
from captum_paramsal.errors import LayerError, TraceError
from captum_paramsal.filters import Filter
from captum_paramsal.graph import Network, receptive_field
from captum_paramsal.hooks import feature_maps, frozen_eval, unwrap, without_hooks
from captum_paramsal.report.explain.data import Mistake
from captum_paramsal.report.explain.trace_records import FilterPath, LayerShare, PathDrawing
from captum_paramsal.sources.pictures import drawn_of, encode_crop
from captum_paramsal.traces import Restriction, Trace, neurons_of, runs_of
from captum_paramsal.viz.paths import as_shades

_TRIED = 10
"""Guilty filters of a mistake that are looked for in its trace: those that its card names."""


class FilterPaths:
    """The ways of mistakes through their guilty filters.

    Args:
        method: What traces.
    """

    def __init__(self, method: TraceAttribution) -> None:
        self._method = method
        self._fields = _Fields(method)

    def of_batch(
        self, inputs: Tensor, trace: Trace, mistakes: Sequence[Mistake], shown: Container[int]
    ) -> tuple[dict[int, FilterPath], dict[int, PathDrawing]]:
        """What is said of the mistakes of one batch, and what is drawn of those that lead through a filter.

        Args:
            inputs: Images.
            trace: Of their predicted classes.
            mistakes: One for each image, of as many of the first ones as are looked at.
            shown: Positions of the images that have a picture.

        Returns:
            Both by the position of the image.
        """
        records: dict[int, FilterPath] = {}
        drawings: dict[int, PathDrawing] = {}
        chosen: dict[int, int] = {}
        for image, mistake in enumerate(mistakes):
            records[mistake.position] = FilterPath(min(_TRIED, len(mistake.filters)))
            rank = _first_passed(trace, image, mistake, self._method)
            if rank is not None:
                chosen[image] = rank
        if not chosen:
            return records, drawings
        rows = list(chosen)
        filters = [mistakes[row].filters[chosen[row] - 1].filter for row in rows]
        ways = self._method.trace(inputs[rows], trace.labels[rows], through=filters)
        maps = _maps(self._method, inputs[rows], filters, ways)
        for way, row in enumerate(rows):
            position, places = mistakes[row].position, ways.filter_places(way)
            # A batch of another size is rounded differently, which may choose other neurons.
            if not len(places):
                continue
            records[position] = _record(ways, way, records[position].tried, chosen[row])
            if position in shown:
                box = self._fields.box(inputs[row : row + 1], filters[way].layer, places[0].tolist())
                drawings[position] = _drawing(ways, way, maps[way], box)
        return records, drawings


class _Fields:
    """What filters see of an image; the network is kept for images of one size."""

    def __init__(self, method: TraceAttribution) -> None:
        self._model = unwrap(method.model)
        self._network: Network | None = None
        self._size: tuple[int, ...] = ()

    def box(self, image: Tensor, layer: str, place: Sequence[int]) -> tuple[int, int, int, int] | None:
        """x, y, width and height of what a layer sees from a place; None for the whole image, or if it is not known."""
        if tuple(image.shape) != self._size:
            self._size, self._network = tuple(image.shape), self._followed(image)
        region = None if self._network is None else receptive_field(self._network, layer, place)
        if region is None:
            return None
        (top, bottom), (left, right) = region[2:]
        height, width = bottom - top + 1, right - left + 1
        return None if (height, width) == self._size[2:] else (left, top, width, height)

    def _followed(self, image: Tensor) -> Network | None:
        try:
            with frozen_eval(self._model):
                return Network.of(without_hooks(self._model), image)
        except TraceError:
            return None


def _first_passed(trace: Trace, image: int, mistake: Mistake, method: TraceAttribution) -> int | None:
    """Rank of the guiltiest filter that the trace of an image passes; None where it passes none of those tried."""
    for rank, ranked in enumerate(mistake.filters[:_TRIED], 1):
        try:
            masks = neurons_of([ranked.filter] * trace.shape[0], trace, method.model)
        except LayerError:
            # A layer that no trace goes through, such as a gate.
            continue
        if any(bool((trace.layers[name].image[mask] == image).any()) for name, mask in masks.items()):
            return rank
    return None


def _maps(method: TraceAttribution, inputs: Tensor, filters: Sequence[Filter], ways: Trace) -> list[Tensor | None]:
    """The map of each image's filter; None for heads, numbers, and layers that run several times."""
    sizes = {
        item.layer: ways.layers[item.layer].size
        for item in filters
        if "[" not in item.part and runs_of(item.layer, ways.layers) == [item.layer]
    }
    layers = [layer for layer, (_, height, width) in sizes.items() if height * width > 1]
    try:
        with frozen_eval(method.model, gradients=False), ExitStack() as watched:
            seen = {layer: watched.enter_context(feature_maps(method.model, layer)) for layer in layers}
            method.model(inputs)
            found = {layer: maps.latest for layer, maps in seen.items()}
    except LayerError:
        # Layers that a run does not show as maps: the figure does without.
        found = {}
    fitting = {layer: maps for layer, maps in found.items() if tuple(maps.shape[1:]) == sizes[layer]}
    return [
        fitting[item.layer][image, item.index] if item.layer in fitting and "[" not in item.part else None
        for image, item in enumerate(filters)
    ]


def _record(ways: Trace, way: int, tried: int, rank: int) -> FilterPath:
    counts = Restriction.required(ways.restriction).counts
    layers = [
        LayerShare(name, int((neurons.image == way).sum()), int(counts[name][way]))
        for name, neurons in ways.layers.items()
    ]
    return FilterPath(
        tried=tried,
        rank=rank,
        # Of a way that ends before the image there is nothing, of a trace that does, NaN.
        share=float(ways.shares()["input"][way].nan_to_num()),
        places=len(ways.filter_places(way)),
        pixels=len(ways.points(way, outliers=True)),
        layers=tuple(layer for layer in layers if layer.whole),
    )


def _drawing(ways: Trace, way: int, activation: Tensor | None, box: tuple[int, int, int, int] | None) -> PathDrawing:
    layer = Restriction.required(ways.restriction).filters[way].layer
    name = next(name for name in runs_of(layer, ways.layers) if len(ways.layers[name].of_image(way)))
    size = ways.layers[name].size[1:]
    shades = None if activation is None else encode_crop(drawn_of(as_shades(activation, size)[None]))
    return PathDrawing(_pairs(ways.points(way, outliers=True)), _pairs(ways.filter_places(way)), size, box, shades)


def _pairs(places: Tensor) -> tuple[tuple[int, int], ...]:
    return tuple((y, x) for y, x in places.tolist())
