"""One path of discernible neurons, a second reference beside the slow twin: one candidate everywhere, in loops.

Written from the equations (guide, section 3.3) without the package, over a chain of the model's own modules. Where
one neuron is selected in every layer, Z_suc is 1, and

    score(i) = cur(i, n) + preceding * pre(i),   over candidates i that are on, or colours of the image.

A path ends where no candidate is on and has a positive score; the package has rules of its own for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torchvision.models.squeezenet import Fire

Place = tuple[int, ...]
"""Channel, y and x; of a vector the feature alone."""


@dataclass(eq=False)
class Node:
    """One operation: its module (None: the image; "cat": side by side), where its inputs come from, and its result."""

    name: str
    module: nn.Module | str | None
    sources: list[Node]
    value: np.ndarray


def chain(model: nn.Module, image: torch.Tensor) -> Node:
    """The operations of a sequence of modules, run on one image ``(C, H, W)``; the last one."""
    return following(model, "", Node("input", None, [], image.numpy()))


def following(module: nn.Module, name: str, node: Node) -> Node:
    """Go on from a node with one module."""
    if isinstance(module, nn.Dropout):
        return node
    if isinstance(module, Fire):
        for part in ("squeeze", "squeeze_activation"):
            node = following(getattr(module, part), f"{name}.{part}", node)
        sides = []
        for side in ("expand1x1", "expand3x3"):
            last = following(getattr(module, side), f"{name}.{side}", node)
            sides.append(following(getattr(module, f"{side}_activation"), f"{name}.{side}_activation", last))
        return Node(f"{name}.cat", "cat", sides, np.concatenate([side.value for side in sides]))
    children = list(module.named_children())
    for child, inner in children:
        node = following(inner, f"{name}.{child}".lstrip("."), node)
    if children:
        return node
    with torch.no_grad():
        value = module(torch.from_numpy(node.value)[None])[0].numpy()
    return Node(name, module, [node], value)


def path(last: Node, label: int, preceding: float, *, through: bool) -> list[tuple[str, Place]]:
    """Layers with weights from the last to the first, and the image, with the neuron that was selected of each."""
    node, place, gain = origin(last, (label,), 1.0)
    visited = []
    while node.module is not None:
        if isinstance(node.module, nn.MaxPool2d | nn.AdaptiveAvgPool2d):
            node, place, gain = origin(node.sources[0], highest(node, place), gain)
            continue
        visited.append((node.name, place))
        scores = {}
        for channel, support in supports(node, place).items():
            candidate = (channel, *middle(node, place))
            if is_image(node.sources[0]) or node.sources[0].value[candidate] > 0:
                extra = preceding * support_of(node.sources[0], candidate, through=through) if preceding else 0.0
                scores[candidate] = gain * support + extra
        best = max(scores, key=scores.__getitem__, default=None)
        if best is None or scores[best] <= 0:
            return visited
        node, place, gain = origin(node.sources[0], best, 1.0)
    return [*visited, ("input", place)]


def is_image(node: Node) -> bool:
    """Whether a layer's input is the image, whose values are not on or off."""
    return node.module is None


def origin(node: Node, place: Place, gain: float) -> tuple[Node, Place, float]:
    """Back through what neither weighs nor chooses: (layer, pool or image, its neuron, factor on the way)."""
    while True:
        match node.module:
            case nn.ReLU():
                node = node.sources[0]
            case nn.BatchNorm2d() as norm:
                scale = norm.weight[place[0]] / (norm.running_var[place[0]] + norm.eps).sqrt()
                node, gain = node.sources[0], gain * float(scale)
            case "cat":
                first = len(node.sources[0].value)
                side = int(place[0] >= first)
                node, place = node.sources[side], (place[0] - side * first, *place[1:])
            case nn.Flatten():
                node, place = node.sources[0], tuple(map(int, np.unravel_index(place[0], node.sources[0].value.shape)))
            case _:
                return node, place, gain


def support_of(node: Node, place: Place, *, through: bool) -> float:
    """Z_pre: the largest single support of a neuron; of a maximum its value, or the support of where it was taken."""
    node, place, gain = origin(node, place, 1.0)
    if node.module is None:
        return 0.0
    if isinstance(node.module, nn.MaxPool2d):
        at = highest(node, place)
        return gain * (support_of(node.sources[0], at, through=True) if through else float(node.sources[0].value[at]))
    return max(gain * support for support in supports(node, place).values())


def supports(node: Node, place: Place) -> dict[int, float]:
    """What each feature, or each channel of the neuron's group over the window, adds to a neuron."""
    before, weight = node.sources[0].value, node.module.weight.detach().numpy()[place[0]]
    if isinstance(node.module, nn.Linear):
        return {feature: float(before[feature] * weight[feature]) for feature in range(len(before))}
    group = place[0] // (node.module.out_channels // node.module.groups)
    found = {}
    for number in range(len(weight)):
        channel = group * len(weight) + number
        found[channel] = sum(
            float(before[channel, y, x] * weight[number, row, column])
            for (row, y) in seen(node, place, 0)
            for (column, x) in seen(node, place, 1)
        )
    return found


def seen(node: Node, place: Place, axis: int) -> Iterator[tuple[int, int]]:
    """(place in the window, place on the map) in one direction, inside the map."""
    kernel, stride, around = (pair(getattr(node.module, key))[axis] for key in ("kernel_size", "stride", "padding"))
    for step in range(kernel):
        at = stride * place[1 + axis] - around + step
        if 0 <= at < node.sources[0].value.shape[1 + axis]:
            yield step, at


def middle(node: Node, place: Place) -> Place:
    """The centre of a convolution's window, on the map."""
    if isinstance(node.module, nn.Linear):
        return ()
    found = []
    for axis in (0, 1):
        kernel, stride, around = (pair(getattr(node.module, key))[axis] for key in ("kernel_size", "stride", "padding"))
        at = stride * place[1 + axis] - around + (kernel - 1) // 2
        found.append(min(max(at, 0), node.sources[0].value.shape[1 + axis] - 1))
    return tuple(found)


def highest(node: Node, place: Place) -> Place:
    """The neuron of the pool's window, or of the whole map, with the largest value."""
    channel, before = place[0], node.sources[0].value
    if isinstance(node.module, nn.AdaptiveAvgPool2d):
        rows, columns = range(before.shape[1]), range(before.shape[2])
    else:
        rows, columns = ([at for _, at in seen(node, place, axis)] for axis in (0, 1))
    return max(((channel, y, x) for y in rows for x in columns), key=before.__getitem__)


def pair(number: int | tuple[int, int]) -> tuple[int, int]:
    """A setting in both directions."""
    return number if isinstance(number, tuple) else (number, number)
