"""Discernible neurons and CNN fixations for one image, neuron by neuron, in loops.

The slow twin of the package, written without it from the equations (guide, section 3). A neuron is a place
``(channel, y, x)`` of one node's output. Nodes are visited from the last to the first; each hands the neurons selected
at its output on to its sources, by one rule for each kind of operation.

For a neuron n at the output of a layer with weights, entering what selected it with the factor ``gain``, and each
candidate i at the layer's input:

    cur(i, n) = gain * the sum of what i's values, times the layer's weights, add to n
    pre(i)    = the largest single such sum that enters i itself
    suc(i)    = max(1, number of selected neurons whose largest cur is that of i)
    score(i)  = a_suc suc(i) (a_cur cur(i, n) + a_pre pre(i))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp, sqrt

import numpy as np
from oracles import plain_network as plain
from torch.nn import functional

Place = tuple[int, int, int]
"""Channel, y, x."""


@dataclass(frozen=True)
class Method:
    """Weights of the supports and how many candidates are kept; ``fixations`` is the ancestor, which has no weights."""

    current: float = 1.0
    preceding: float = 1.0
    succeeding: float = 1.0
    top_k: int = 1
    linear_top_k: int = 10
    places: int = 20
    fixations: bool = False


SELF_GATED = (functional.silu, functional.gelu, functional.mish, functional.hardswish)
"""``f(x) = x · gate(x)``: the gate is a factor."""

FIXATIONS = Method(current=1.0, preceding=0.0, succeeding=1.0, top_k=1, places=1, fixations=True)


@dataclass(frozen=True)
class Selected:
    """Why a neuron was selected, and the factor by which its value enters what selected it."""

    score: float
    current: float
    preceding: float
    succeeding: int
    gain: float = 1.0


@dataclass(frozen=True, eq=False)
class Trace:
    """Of one image.

    Attributes:
        nodes: For each node of the network, the neurons selected at its output.
        layers: The same by name, without what has no name; the logits are called "output", the image "input".
        points: ``{(y, x): score}`` on the image.
        kept: The points that have company.
        box: (x1, y1, x2, y2) around the kept points; None without any.
        heat: ``(H, W)`` with maximum 1, zeros without any point.
    """

    nodes: list[dict[Place, Selected]]
    layers: dict[str, dict[Place, Selected]]
    points: dict[tuple[int, int], float]
    kept: list[tuple[int, int]]
    box: tuple[int, int, int, int] | None
    heat: np.ndarray


def trace(
    network: Sequence[plain.Operation],
    image: np.ndarray,
    target: int | Sequence[int],
    method: Method = Method(),
    *,
    sigma: float | None = None,
) -> Trace:
    """From the logit ``target``, or several, down to the pixels of ``image`` ``(C, H, W)``."""
    walk = Walk(network, image, method)
    selected = walk.down([target] if isinstance(target, int) else target)
    names = [node.operation.name for node in walk.nodes]
    layers = {name: found for name, found in zip(names, selected, strict=True) if name}
    points: dict[tuple[int, int], float] = {}
    for (_, y, x), neuron in sorted(selected[0].items()):
        points[y, x] = max(neuron.score, points.get((y, x), neuron.score))
    height, width = image.shape[1:]
    kept = with_company(sorted(points), height, width)
    heat = blurred(kept, height, width, min(height, width) / 224 * 20 if sigma is None else sigma)
    return Trace(selected, layers, points, kept, box_around(kept), heat)


class Walk:
    """One image's way down the network."""

    def __init__(self, network: Sequence[plain.Operation], image: np.ndarray, method: Method) -> None:
        self.nodes = plain.flat([*network, plain.Pointwise(name="output")])
        self.values = plain.values(self.nodes, image)
        self.nodes = self.with_averages_of_averages_as_one()
        self.read = [self.read_by(node) for node in self.nodes]
        self.method = method

    def with_averages_of_averages_as_one(self) -> list[plain.Node]:
        """An average over the whole of what windows beside each other averaged is the average of all they hold."""
        nodes = list(self.nodes)
        for number, node in enumerate(nodes):
            before = nodes[node.sources[0]] if node.sources else None
            if before is None or not isinstance(before.operation, plain.AveragePool):
                continue
            windows, size = before.operation, self.values[node.sources[0]].shape[1:]
            whole = isinstance(node.operation, plain.AdaptiveAveragePool) and self.values[number].shape[1:] == (1, 1)
            full = all(
                (places - 1) * stride + kernel <= room
                for places, stride, kernel, room in zip(
                    size, windows.stride, windows.kernel, self.values[before.sources[0]].shape[1:], strict=True
                )
            )
            if whole and full and windows.padding == (0, 0) and windows.stride == windows.kernel:
                covered = (size[0] * windows.kernel[0], size[1] * windows.kernel[1])
                nodes[number] = plain.Node(plain.AveragePool(covered, covered), before.sources)
        return nodes

    def read_by(self, node: plain.Node) -> np.ndarray | None:
        """What a layer with weights multiplies them with: its input, padded; None for other operations."""
        if isinstance(node.operation, plain.Convolution):
            return plain.padded_for(node.operation, self.values[node.sources[0]])
        return self.values[node.sources[0]] if isinstance(node.operation, plain.Linear) else None

    def down(self, targets: Sequence[int]) -> list[dict[Place, Selected]]:
        """The neurons selected at every node's output."""
        selected: list[dict[Place, Selected]] = [{} for _ in self.nodes]
        for target in targets:
            selected[-1][target, 0, 0] = Selected(float("nan"), float("nan"), float("nan"), 1)
        for number in range(len(self.nodes) - 1, 0, -1):
            for source, place, neuron, _ in self.step(number, selected[number]):
                arrive(selected[source], place, neuron)
        return selected

    def step(self, number: int, selected: dict[Place, Selected]) -> Iterator[tuple[int, Place, Selected, Place]]:
        """What a node's neurons select at its sources: (source, place there, neuron, for which of the node's)."""
        node = self.nodes[number]
        if isinstance(node.operation, plain.Linear | plain.Convolution):
            yield from self.choose(number, selected)
            return
        for place in sorted(selected):
            neuron = selected[place]
            for branch, at, gain in self.passed(number, place, neuron.gain):
                yield node.sources[branch], at, replace(neuron, gain=gain), place

    def choose(self, number: int, selected: dict[Place, Selected]) -> Iterator[tuple[int, Place, Selected, Place]]:
        """The candidates with the largest scores of each selected neuron; of all, if none that is on has any."""
        found = list(self.chosen(number, selected, everyone=self.method.fixations))
        yield from found or self.chosen(number, selected, everyone=True)

    def chosen(
        self, number: int, selected: dict[Place, Selected], *, everyone: bool
    ) -> Iterator[tuple[int, Place, Selected, Place]]:
        (source,) = self.nodes[number].sources
        # Every neuron's candidates with their current supports, in the order of the input's channels.
        current = {
            place: self.current(number, place, selected[place].gain, everyone=everyone) for place in sorted(selected)
        }
        favourites = [max(found, key=found.__getitem__) for found in current.values()]
        preceding = {i: self.preceding(source, i) for found in current.values() for i in found}
        for origin, found in current.items():
            scored = []
            for i, support in found.items():
                succeeding = 1 if self.method.fixations else max(1, favourites.count(i))
                score = self.method.succeeding * succeeding
                score *= self.method.current * support + self.method.preceding * preceding[i]
                # A negative value that supports the neuron: from there on the path looks for what made it negative.
                # So it does behind a depthwise convolution, which leaves nothing else.
                supports = support > 0 or self.is_depthwise(number)
                sign = -1.0 if self.values[source][i] < 0 and supports else 1.0
                scored.append((i, Selected(score, support, preceding[i], succeeding, sign)))
            if not self.is_depthwise(number):
                scored = [(i, neuron) for i, neuron in scored if neuron.score > 0]
            scored.sort(key=lambda pair: -pair[1].score)  # stable: the lower index first where two are equal
            for i, neuron in scored[: self.how_many(number)]:
                yield source, i, neuron, origin

    def is_depthwise(self, number: int) -> bool:
        """Whether every neuron of a convolution has one channel to come from, and others have another one."""
        operation = self.nodes[number].operation
        return isinstance(operation, plain.Convolution) and operation.groups > 1 and operation.weight.shape[1] == 1

    def how_many(self, number: int) -> int:
        """Candidates kept for each neuron."""
        if isinstance(self.nodes[number].operation, plain.Convolution):
            return self.method.top_k
        if not self.method.fixations:
            return self.method.linear_top_k
        (source,) = self.nodes[number].sources
        return 1 if self.sees_a_map(number) else len(self.values[source])

    def sees_a_map(self, number: int) -> bool:
        """Whether a linear layer's input is a flattened map with more than one place."""
        source = self.nodes[number].sources[0]
        while isinstance(self.nodes[source].operation, plain.Pointwise | plain.BatchNorm):
            (source,) = self.nodes[source].sources
        if not isinstance(self.nodes[source].operation, plain.Flatten):
            return False
        before = self.values[self.nodes[source].sources[0]]
        return before.shape[1] * before.shape[2] > 1

    def current(self, number: int, place: Place, gain: float, *, everyone: bool) -> dict[Place, float]:
        """The current support of every candidate for one neuron: those that are on, or all where none is on."""
        inputs = self.values[self.nodes[number].sources[0]]
        candidates, supports = self.contributions(number, place)
        found = {i: gain * support for i, support in zip(candidates, supports, strict=True)}
        active = {i: support for i, support in found.items() if inputs[i] > 0}
        return found if everyone or not active else active

    def passed(self, number: int, place: Place, gain: float) -> list[tuple[int, Place, float]]:
        """The sources' neurons behind one neuron: (which source, place there, gain there)."""
        operation = self.nodes[number].operation
        inputs = [self.values[source] for source in self.nodes[number].sources]
        channel, y, x = place
        if isinstance(operation, plain.MaxPool):
            inside = max_window(operation, inputs[0].shape, y, x)
            return [(0, max(((channel, *at) for at in inside), key=lambda at: inputs[0][at]), gain)]
        if isinstance(operation, plain.AveragePool | plain.AdaptiveAveragePool):
            rows, columns, _ = plain.average_window(operation, inputs[0].shape[1:], y, x)
            inside = [(channel, row, column) for row in rows for column in columns]
            inside.sort(key=lambda at: -gain * inputs[0][at])
            if self.values[number][channel].size > 1:
                return [(0, inside[0], gain)]
            return [(0, at, gain) for at in inside if gain * inputs[0][at] > 0][: self.method.places]
        if isinstance(operation, plain.Add):
            sides = [(inputs[0][place], gain), (inputs[1][place], gain * operation.sign)]
            branch = 0 if sides[0][0] * sides[0][1] >= sides[1][0] * sides[1][1] else 1
            value, gain = sides[branch]
            return [(branch, place, gain)] if gain * value > 0 else []
        only = self.only_way(number, place, gain)
        return [] if only is None else [only]

    def only_way(  # noqa: C901, PLR0911
        self, number: int, place: Place, gain: float
    ) -> tuple[int, Place, float] | None:
        """The same for operations that leave nothing to choose."""
        operation = self.nodes[number].operation
        inputs = [self.values[source] for source in self.nodes[number].sources]
        channel, y, x = place
        match operation:
            case plain.Pointwise(function=function) if function in SELF_GATED:
                before, after = float(inputs[0][place]), float(self.values[number][place])
                return 0, place, gain * (after / before if before else 1.0)
            case plain.Pointwise():
                return 0, place, gain
            case plain.BatchNorm():
                return 0, place, gain * float(operation.scale[channel])
            case plain.Flatten():
                return 0, tuple(int(n) for n in np.unravel_index(channel, inputs[0].shape)), gain
            case plain.EverySecond():
                return 0, (channel, 2 * y, 2 * x), gain
            case plain.MoreChannels():
                before = channel - operation.before
                return (0, (before, y, x), gain) if 0 <= before < len(inputs[0]) else None
            case plain.Channels():
                return 0, (operation.order[channel], y, x), gain
            case plain.Gate():
                return 0, place, gain * float(inputs[1][channel, 0, 0])
            case plain.Cat():
                for branch, value in enumerate(inputs):
                    if channel < len(value):
                        return branch, (channel, y, x), gain
                    channel -= len(value)
        raise TypeError(operation)

    def preceding(self, number: int, place: Place, gain: float = 1.0) -> float:  # noqa: PLR0911
        """The largest single contribution into a neuron at a node's output; 0 where it has no weight."""
        if not self.method.preceding:
            return 0.0
        node, value = self.nodes[number], self.values[number]
        operation = node.operation
        inputs = [self.values[source] for source in node.sources]
        match operation:
            case plain.Input():
                return 0.0
            case plain.Linear() | plain.Convolution():
                return max(gain * support for support in self.contributions(number, place)[1])
            case plain.MaxPool():
                return gain * float(value[place])
            case plain.AveragePool() | plain.AdaptiveAveragePool():
                rows, columns, divisor = plain.average_window(operation, inputs[0].shape[1:], *place[1:])
                inside = [inputs[0][place[0], row, column] for row in rows for column in columns]
                return max(gain * float(a) / divisor for a in inside)
            case plain.Add():
                return max(gain * float(inputs[0][place]), gain * operation.sign * float(inputs[1][place]))
        only = self.only_way(number, place, gain)
        if only is None:
            return 0.0
        branch, at, gain = only
        return self.preceding(node.sources[branch], at, gain)

    def contributions(self, number: int, place: Place) -> tuple[list[Place], list[float]]:
        """What each input feature, or each input channel's window, adds to one neuron, without the bias."""
        operation, read = self.nodes[number].operation, self.read[number]
        channel, y, x = place
        if isinstance(operation, plain.Linear):
            return [(i, 0, 0) for i in range(len(read))], list(read[:, 0, 0] * operation.weight[channel])
        (top, left), (down, right) = operation.stride, operation.dilation
        kernel, group_size = operation.weight.shape[2:], operation.weight.shape[1]
        rows = slice(top * y, top * y + down * (kernel[0] - 1) + 1, down)
        columns = slice(left * x, left * x + right * (kernel[1] - 1) + 1, right)
        group = channel // (len(operation.weight) // operation.groups)
        channels = range(group * group_size, (group + 1) * group_size)
        window = read[channels.start : channels.stop, rows, columns]
        at = centre(operation, self.values[self.nodes[number].sources[0]].shape, y, x)
        return [(i, *at) for i in channels], list((window * operation.weight[channel]).sum((1, 2)))


def arrive(selected: dict[Place, Selected], place: Place, neuron: Selected) -> None:
    """One neuron stays one: the largest score, and the largest factor (the first of equal ones)."""
    if place not in selected:
        selected[place] = neuron
        return
    known = selected[place]
    gain = neuron.gain if abs(neuron.gain) > abs(known.gain) else known.gain
    best = neuron if neuron.score > known.score else known
    selected[place] = replace(best, gain=gain)


def centre(convolution: plain.Convolution, shape: Sequence[int], y: int, x: int) -> tuple[int, int]:
    """The middle of a receptive field on the map ``shape`` (C, H, W), the upper or left one of two; on the map."""
    middle = []
    for axis, place in enumerate((y, x)):
        reach = convolution.dilation[axis] * (convolution.weight.shape[2 + axis] - 1)
        at = convolution.stride[axis] * place - convolution.around[axis][0] + reach // 2
        middle.append(min(max(at, 0), shape[1 + axis] - 1))
    return middle[0], middle[1]


def max_window(pool: plain.MaxPool, shape: Sequence[int], y: int, x: int) -> list[tuple[int, int]]:
    """The places of the map ``shape`` (C, H, W) that a maximum is taken over, row by row."""
    rows = [pool.stride[0] * y - pool.padding[0] + pool.dilation[0] * k for k in range(pool.kernel[0])]
    columns = [pool.stride[1] * x - pool.padding[1] + pool.dilation[1] * k for k in range(pool.kernel[1])]
    return [(row, column) for row in rows for column in columns if 0 <= row < shape[1] and 0 <= column < shape[2]]


def with_company(points: Sequence[tuple[int, int]], height: int, width: int) -> list[tuple[int, int]]:
    """The points (y, x) with more than 5 % of all points, itself among them, within a tenth of the diagonal.

    All of them, where there is no such point.
    """
    radius = 0.10 * sqrt(height**2 + width**2)
    kept = []
    for y, x in points:
        near = [1 for v, u in points if sqrt((y - v) ** 2 + (x - u) ** 2) <= radius]
        if len(near) > 0.05 * len(points):
            kept.append((y, x))
    return kept or list(points)


def box_around(points: Sequence[tuple[int, int]]) -> tuple[int, int, int, int] | None:
    """(x1, y1, x2, y2), the last two beyond the last pixel; None around nothing."""
    if not points:
        return None
    rows, columns = [y for y, _ in points], [x for _, x in points]
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


def blurred(points: Sequence[tuple[int, int]], height: int, width: int, sigma: float) -> np.ndarray:
    """A Gaussian at every point, cut off where the largest odd kernel ends that fits the image; the maximum is 1."""
    size = min(height, width)
    reach = (size if size % 2 else size - 1) // 2
    bell = np.array([exp(-(d**2) / (2 * sigma**2)) if d <= reach else 0.0 for d in range(max(height, width))])
    heat = np.zeros((height, width))
    for y, x in points:
        heat += np.outer([bell[abs(row - y)] for row in range(height)], [bell[abs(col - x)] for col in range(width)])
    return heat / heat.max() if points else heat
