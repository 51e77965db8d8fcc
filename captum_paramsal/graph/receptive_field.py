"""Which part of its input one place of a network depends on, read off the operations that ran.

A region is followed back from operation to operation: through windows, sums, rearrangements, and whatever treats every
place alike. Normalizations count as such, and a factor that is one number for a whole map (squeeze and excitation) is
left out, though both depend on the whole input: they scale a map and say nothing of where in it something is. Before
anything else, such as attention, it is the whole input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import prod
from types import EllipsisType
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from captum_paramsal.functional.convolution import padding_per_dimension, per_dimension
from captum_paramsal.graph.network import Network
from captum_paramsal.graph.operations import Kind, kind_of, name_of
from captum_paramsal.graph.rules.pooling import pool_dimensions, pool_movement, reduced_dimensions
from captum_paramsal.graph.step import argument_of
from captum_paramsal.hooks import frozen_eval, unwrap, without_hooks

Region: TypeAlias = tuple[tuple[int, int], ...]
"""First and last index in each dimension of a tensor."""

_Found: TypeAlias = Iterator[tuple[fx.Node, Region | None]]
"""Operations before one, each with the region of its result; None for all of it."""

_Back: TypeAlias = Callable[[Network, fx.Node, Region], _Found]


def receptive_field(network: Network, layer: str, place: Sequence[int]) -> Region | None:
    """What of the first input a layer's output at one place depends on, whatever the weights are.

    Args:
        network: A run on one example.
        layer: Name of a convolution or a linear layer; of one that ran several times, over all of its runs.
        place: Of its output, such as (y, x), or the number of a token.

    Returns:
        First and last index in each dimension; None for the whole input, or where it cannot be told.

    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.Conv2d(2, 1, 3, stride=2))
    >>> receptive_field(Network.of(model, torch.zeros(1, 1, 9, 9)), "1", (0, 3))
    ((0, 0), (0, 0), (0, 3), (5, 8))
    """
    regions: dict[fx.Node, Region | None] = {}
    for node in network.graph.nodes:
        if node.meta["layer"] == layer and kind_of(node, network.model) in (Kind.CONVOLUTION, Kind.LINEAR):
            _join(regions, node, _at_place(network, node, place))
    for node in reversed(network.graph.nodes):
        if node in regions and node.op != "placeholder":
            for source, region in _before(network, node, regions[node]):
                if source in network.of_inputs:
                    _join(regions, source, region)
    return regions.get(next(iter(network.graph.nodes)))


def receptive_fields(
    model: nn.Module, inputs: Tensor, layer: str, places: Sequence[Sequence[int]]
) -> list[Region | None]:
    """What of an image a layer's output at some places depends on, whatever the weights are.

    Args:
        model: The model, which takes images alone; left as it is.
        inputs: Images ``(N, C, ...)``, of which the first is run.
        layer: Name of a convolution or a linear layer.
        places: Of its output, such as (y, x), or the number of a token.

    Returns:
        First and last index in each dimension of an image's map for each place, such as rows and columns; None for the
        whole of it, or where it cannot be told.

    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.Conv2d(2, 1, 3, stride=2))
    >>> receptive_fields(model, torch.zeros(1, 1, 9, 9), "1", [(0, 3), (1, 1)])
    [((0, 3), (5, 8)), ((1, 5), (1, 5))]
    """
    plain = unwrap(model)
    with frozen_eval(plain):
        network = Network.of(without_hooks(plain), inputs[:1])
    regions = [receptive_field(network, layer, place) for place in places]
    return [None if region is None else region[2:] for region in regions]


def _join(regions: dict[fx.Node, Region | None], node: fx.Node, region: Region | None) -> None:
    """Widen what is known of an operation's result."""
    known = regions.get(node, region)
    if known is None or region is None:
        regions[node] = None
        return
    pairs = zip(known, region, strict=True)
    regions[node] = tuple((min(low, first), max(high, last)) for (low, high), (first, last) in pairs)


def _at_place(network: Network, node: fx.Node, place: Sequence[int]) -> Region | None:
    """All channels at one place of a layer's output."""
    shape = network.shapes[node]
    if kind_of(node, network.model) is Kind.CONVOLUTION:
        dimensions = list(range(2, len(shape)))
    else:
        # Tokens may come before the example.
        example = next((dimension for dimension in range(len(shape) - 1) if shape[dimension] == 1), 0)
        dimensions = [dimension for dimension in range(len(shape) - 1) if dimension != example]
    if len(dimensions) != len(place):
        return None
    at = dict(zip(dimensions, place, strict=True))
    region = tuple((at[d], at[d]) if d in at else _all_of(size) for d, size in enumerate(shape))
    return region if all(high < size for (_, high), size in zip(region, shape, strict=True)) else None


def _all_of(size: int) -> tuple[int, int]:
    return 0, size - 1


def _inside(low: int, high: int, size: int) -> tuple[int, int]:
    return min(max(low, 0), size - 1), min(max(high, 0), size - 1)


def _before(network: Network, node: fx.Node, region: Region | None) -> _Found:
    """What of the operations before one a region of its result depends on."""
    back = None if region is None else _back_of(network, node)
    if region is None or back is None:
        return ((source, None) for source in node.all_input_nodes)
    return back(network, node, region)


def _back_of(network: Network, node: fx.Node) -> _Back | None:
    kind, name = kind_of(node, network.model), _last_name(node)
    if node.meta.get("several"):
        return _of_cut if name in _CUTS else None
    if node.op == "call_module":
        return None
    if kind is Kind.REARRANGEMENT:
        return _NAMED.get(name)
    if kind is Kind.CONVOLUTION and "transpose" in name:
        return _of_transposed
    return None if kind is None else _KINDS.get(kind)


def _last_name(node: fx.Node) -> str:
    return name_of(node.target).rpartition(".")[2]


def _same_place(network: Network, node: fx.Node, region: Region) -> _Found:
    """Operands of what treats every place alike, without factors of whole maps."""
    result = network.shapes[node]
    limited = [d - len(region) for d, bounds in enumerate(region) if bounds != _all_of(result[d])]
    parts: dict[fx.Node, Region | None] = {}
    factors = set()
    for source in node.all_input_nodes:
        shape = network.shapes.get(source)
        if shape is None or len(shape) > len(result):
            parts[source] = None
            continue
        bounds, sizes = region[len(region) - len(shape) :], result[len(result) - len(shape) :]
        fits = all(size in (1, other) for size, other in zip(shape, sizes, strict=True))
        broadcast = ((0, 0) if size == 1 else at for size, at in zip(shape, bounds, strict=True))
        parts[source] = tuple(broadcast) if fits else None
        if limited and all(-d > len(shape) or shape[d] == 1 for d in limited):
            factors.add(source)
    every = len(factors) == len(parts)
    return ((source, part) for source, part in parts.items() if every or source not in factors)


def _windows(network: Network, node: fx.Node, region: Region, movement: Sequence[Sequence[int]], lead: int) -> _Found:
    """What windows see: kernel, stride, padding before and dilation, for each dimension from ``lead`` on."""
    source = node.all_input_nodes[0]
    shape = network.shapes[source]
    bounds = []
    for (low, high), size, kernel, stride, before, dilation in zip(region[lead:], shape[lead:], *movement, strict=True):
        bounds.append(_inside(low * stride - before, high * stride - before + dilation * (kernel - 1), size))
    yield source, (*map(_all_of, shape[:lead]), *bounds)


def _of_convolution(network: Network, node: fx.Node, region: Region) -> _Found:
    kernel = tuple(network.shapes[node.all_input_nodes[1]][2:])
    dilation = per_dimension(argument_of(node, 5, "dilation", 1), len(kernel))
    stride = per_dimension(argument_of(node, 3, "stride", 1), len(kernel))
    padding = padding_per_dimension(argument_of(node, 4, "padding", 0), kernel, dilation)
    before = [first for first, _ in padding]
    return _windows(network, node, region, (kernel, stride, before, dilation), 2)


def _of_transposed(network: Network, node: fx.Node, region: Region) -> _Found:
    source, weight = node.all_input_nodes[:2]
    shape, kernel = network.shapes[source], tuple(network.shapes[weight][2:])
    movement = [
        per_dimension(argument_of(node, place, name, default), len(kernel))
        for place, name, default in ((3, "stride", 1), (4, "padding", 0), (7, "dilation", 1))
    ]
    bounds = []
    for (low, high), size, width, stride, before, dilation in zip(
        region[2:], shape[2:], kernel, *movement, strict=True
    ):
        # Input y reaches the outputs from S·y - P to S·y - P + D(K - 1).
        first = -((dilation * (width - 1) - low - before) // stride)
        bounds.append(_inside(first, (high + before) // stride, size))
    yield source, (*map(_all_of, shape[:2]), *bounds)


def _of_pool(network: Network, node: fx.Node, region: Region) -> _Found:
    source, count = node.all_input_nodes[0], pool_dimensions(node)
    shape, result = network.shapes[source], network.shapes[node]
    lead = len(shape) - count
    if "adaptive" not in name_of(node.target):
        yield from _windows(network, node, region, [per_dimension(one, count) for one in pool_movement(node)], lead)
        return
    bounds = [
        (low * size // parts, -(-(high + 1) * size // parts) - 1)
        for (low, high), size, parts in zip(region[lead:], shape[lead:], result[lead:], strict=True)
    ]
    yield source, (*region[:lead], *bounds)


def _of_features(network: Network, node: fx.Node, region: Region) -> _Found:
    source = node.all_input_nodes[0]
    yield source, (*region[:-1], _all_of(network.shapes[source][-1]))


def _of_resizing(network: Network, node: fx.Node, region: Region) -> _Found:
    source = node.all_input_nodes[0]
    shape, result = network.shapes[source], network.shapes[node]
    # The widest interpolation, bicubic, reads two places to each side.
    yield (
        source,
        tuple(
            (low, high) if size == new else _inside(low * size // new - 2, (high + 1) * size // new + 2, size)
            for (low, high), size, new in zip(region, shape, result, strict=True)
        ),
    )


def _of_reduction(network: Network, node: fx.Node, region: Region) -> _Found:
    if len(node.all_input_nodes) > 1:
        yield from _same_place(network, node, region)
        return
    source = node.all_input_nodes[0]
    shape = network.shapes[source]
    gone = {dimension % len(shape) for dimension in reduced_dimensions(node, len(shape))}
    # With `keepdim`, those that are gone are there with one place.
    kept = iter(region if len(region) < len(shape) else [at for d, at in enumerate(region) if d not in gone])
    yield source, tuple(_all_of(size) if d in gone else next(kept) for d, size in enumerate(shape))


def _of_shape(network: Network, node: fx.Node, region: Region) -> _Found:
    source = node.all_input_nodes[0]
    yield source, _reshaped(region, network.shapes[node], network.shapes[source])


def _reshaped(region: Region, result: Sequence[int], shape: Sequence[int]) -> Region | None:
    """Bounds in a shape of values that have some bounds in another one, in the same order.

    >>> _reshaped(((0, 0), (0, 7), (5, 5)), (1, 8, 12), (1, 8, 3, 4))
    ((0, 0), (0, 7), (1, 1), (1, 1))
    """
    bounds: list[tuple[int, int]] = []
    new, old = 0, 0
    while new < len(result) and old < len(shape):
        new_end, old_end = new + 1, old + 1
        while prod(result[new:new_end]) != prod(shape[old:old_end]):
            if prod(result[new:new_end]) > prod(shape[old:old_end]):
                old_end += 1
            else:
                new_end += 1
            if new_end > len(result) or old_end > len(shape):
                return None
        bounds += _regrouped(region[new:new_end], result[new:new_end], shape[old:old_end])
        new, old = new_end, old_end
    return (*bounds, *map(_all_of, shape[old:]))


def _regrouped(region: Region, sizes: Sequence[int], shape: Sequence[int]) -> list[tuple[int, int]]:
    """The same for dimensions that are as many values as some others."""
    first, last = 0, 0
    for (low, high), size in zip(region, sizes, strict=True):
        first, last = first * size + low, last * size + high
    corners = (torch.unravel_index(torch.tensor(flat), tuple(shape)) for flat in (first, last))
    bounds = [(int(low), int(high)) for low, high in zip(*corners, strict=True)]
    parted = next((number for number, (low, high) in enumerate(bounds) if low != high), len(bounds))
    # Behind the first dimension in which the corners differ, anything may lie between them.
    return [*bounds[: parted + 1], *map(_all_of, shape[parted + 1 :])]


def _of_view(network: Network, node: fx.Node, region: Region) -> _Found:
    """What only chooses and turns dimensions; for a part of what was cut, its bounds in what it was cut from."""
    source = node.all_input_nodes[0]
    cut = source if source.meta.get("several") else None
    shape = network.shapes.get(source if cut is None else cut.all_input_nodes[0])
    known = shape is not None and (cut is None or _last_name(cut) in _CUTS)
    viewed = _viewed(node, cut, region, shape) if known and shape is not None else None
    yield from ((one, viewed) for one in node.all_input_nodes)


def _viewed(node: fx.Node, cut: fx.Node | None, region: Region, shape: Sequence[int]) -> Region | None:
    if len(node.all_input_nodes) > 1 or not _is_view(node):
        return None
    # One more than there is in each dimension: a stride and an offset tell what a view of it has of which dimension.
    strides = [prod(size + 1 for size in shape[d + 1 :]) for d in range(len(shape))]
    whole = torch.empty_strided(tuple(shape), strides, device="meta", dtype=torch.uint8)
    view: Any = _applied(node, whole if cut is None else _applied(cut, whole))
    if not isinstance(view, Tensor) or view.ndim != len(region):
        return None
    starts = [int(view.storage_offset()) // stride % (size + 1) for size, stride in zip(shape, strides, strict=True)]
    bounds = [(start, start) for start in starts]
    for (low, high), size, stride in zip(region, view.shape, view.stride(), strict=True):
        if size > 1 and stride > 0:
            dimension = next(d for d, base in enumerate(strides) if stride >= base)
            step, start = stride // strides[dimension], starts[dimension]
            bounds[dimension] = start + step * low, start + step * high
    return tuple(bounds)


def _is_view(node: fx.Node) -> bool:
    """Whether an index, where there is one, chooses without copying."""
    if _last_name(node) != "getitem":
        return True
    index: Any = node.args[1]
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or type(part) in (int, slice, EllipsisType) for part in parts)


def _applied(node: fx.Node, given: Any) -> Any:
    """What an operation makes of a value in the place of its one operand."""
    args: Any = fx.node.map_arg(node.args, lambda _: given)
    kwargs: Any = fx.node.map_arg(node.kwargs, lambda _: given)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    target: Any = node.target
    return target(*args, **kwargs)


def _of_cut(network: Network, node: fx.Node, region: Region) -> _Found:
    """What was cut: its parts have told their bounds in the whole."""
    del network
    yield node.all_input_nodes[0], region


def _of_parts(network: Network, node: fx.Node, region: Region) -> _Found:
    """Parts that were put one after the other."""
    parts: Any = argument_of(node, 0, "tensors")
    dimension = argument_of(node, 1, "dim", node.kwargs.get("axis", 0)) % len(region)
    sizes = [network.shapes[part][dimension] for part in parts]
    low, high = region[dimension]
    for part, size, start in zip(parts, sizes, accumulate(sizes, initial=0), strict=False):
        first, last = max(low - start, 0), min(high - start, size - 1)
        if first <= last:
            yield part, (*region[:dimension], (first, last), *region[dimension + 1 :])


def _of_padding(network: Network, node: fx.Node, region: Region) -> _Found:
    source = node.all_input_nodes[0]
    shape, sides = network.shapes[source], argument_of(node, 1, "pad")
    mode = argument_of(node, 2, "mode", "constant")
    if mode == "circular":
        yield source, None
        return
    bounds = list(region)
    for number in range(len(sides) // 2):
        dimension, before = len(shape) - 1 - number, sides[2 * number]
        low, high = (end - before for end in region[dimension])
        if mode == "reflect":
            # What is beyond an edge is as far inside of it.
            low, high = min(low, 2 * (shape[dimension] - 1) - high), max(high, -low)
        bounds[dimension] = _inside(low, high, shape[dimension])
    yield source, tuple(bounds)


_CUTS = frozenset({"chunk", "split", "split_with_sizes", "tensor_split", "unbind"})

_KINDS: Mapping[Kind, _Back] = {
    **dict.fromkeys(
        (
            Kind.ACTIVATION, Kind.GATED_ACTIVATION, Kind.ELEMENTWISE, Kind.NEGATION, Kind.SAME, Kind.DROPOUT,
            Kind.BATCH_NORMALIZATION, Kind.INSTANCE_NORMALIZATION, Kind.NORMALIZATION, Kind.RMS_NORMALIZATION,
            Kind.LOCAL_NORMALIZATION, Kind.LARGER, Kind.SUM, Kind.SUM_OF_PRODUCT, Kind.PRODUCT, Kind.QUOTIENT,
        ),
        _same_place,
    ),
    **dict.fromkeys((Kind.MAX_POOL, Kind.ADAPTIVE_MAX_POOL, Kind.AVERAGE_POOL), _of_pool),
    **dict.fromkeys((Kind.AVERAGE, Kind.MAXIMUM, Kind.REDUCTION), _of_reduction),
    **dict.fromkeys((Kind.FLATTENING, Kind.RESHAPING), _of_shape),
    Kind.CONVOLUTION: _of_convolution,
    Kind.LINEAR: _of_features,
    Kind.RESIZING: _of_resizing,
}  # fmt: skip

_NAMED: Mapping[str, _Back] = {
    **dict.fromkeys(("cat", "concat", "concatenate"), _of_parts),
    **dict.fromkeys(
        (
            "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "unsqueeze", "narrow", "select",
            "expand", "broadcast_to", "t", "getitem", "getattr",
        ),
        _of_view,
    ),
    "pad": _of_padding,
}  # fmt: skip
"""Rearrangements by name."""
