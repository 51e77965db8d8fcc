"""The tail of a network: what lies after one of its values, to be run on its own, as often as needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx

from captum_paramsal.graph.class_scores import class_score_nodes
from captum_paramsal.graph.network import Interpreter, Network
from captum_paramsal.graph.operations import Kind, kind_of
from captum_paramsal.graph.recording import Recording

SideInputs: TypeAlias = Mapping[tuple[fx.Node, fx.Node], Any]
"""What an operation reads that is not run again, by (operation, what it reads)."""

_TREAT_CHANNELS_ALIKE = frozenset({
    Kind.ACTIVATION, Kind.GATED_ACTIVATION, Kind.ELEMENTWISE, Kind.NEGATION, Kind.SAME, Kind.DROPOUT,
    Kind.AVERAGE_POOL, Kind.FLATTENING,
})  # fmt: skip
"""Kinds of operations that treat every channel alike and on its own, however many there are."""


@dataclass(frozen=True)
class TailRun:
    """What the tail of a network returned.

    Attributes:
        output: Class scores; a single column, that of the label, where only this was computed.
        narrowed: Whether it was.
        numbers: Numbers in all tensors on the way, a measure of the memory that a backward pass needs.
    """

    output: Any
    narrowed: bool
    numbers: int


class TailReads:
    """Keeps the value of one operation, and what everything that depends on it reads besides.

    Args:
        layer: Name of the module whose value is meant.
        to_input: Whether that is its input instead of its output.
        number: Number of the operation, where it is known from an earlier run; what reads the value before the module
            is called is seen only then.
    """

    def __init__(self, layer: str, *, to_input: bool, number: int | None = None) -> None:
        self._layer, self._to_input, self._number = layer, to_input, number
        self._inside: set[fx.Node] = set()

    def start(self, recording: Recording) -> fx.Node | None:
        """The operation, once the module is there."""
        calls = recording.calls.get(self._layer, ())
        if not calls:
            return None
        return calls[0].given if self._to_input else calls[0].returned

    def reads(self, node: fx.Node, recording: Recording) -> Collection[fx.Node]:
        """Everything that an operation of the tail reads from outside, and the value itself."""
        sources = node.all_input_nodes
        start = self.start(recording) if self._number is None else None
        self._inside |= {source for source in sources if source is start or source.meta["number"] == self._number}
        if self._inside.isdisjoint(sources):
            return ()
        self._inside.add(node)
        return [source for source in sources if source not in self._inside or not self._is_inner(source, start)]

    def _is_inner(self, node: fx.Node, start: fx.Node | None) -> bool:
        return node is not start and node.meta["number"] != self._number


@dataclass(frozen=True)
class TailNetwork:
    """The operations of a network that depend on one of its values.

    Attributes:
        network: The whole.
        start: The value.
        nodes: Operations that depend on it, in order; the output is the last.
        side_inputs: Values that these operations read and that do not depend on it, such as a shortcut's.
        narrow: Pointwise convolution that holds the class scores, of which one channel is enough; None without.
    """

    network: Network
    start: fx.Node
    nodes: tuple[fx.Node, ...]
    side_inputs: frozenset[fx.Node]
    narrow: fx.Node | None

    @classmethod
    def of(cls, network: Network, start: fx.Node) -> TailNetwork | None:
        """The tail after ``start``; None if the output does not depend on it."""
        after = network.after([start])
        nodes = tuple(node for node in network.graph.nodes if node in after and node is not start)
        if not nodes or nodes[-1].op != "output":
            return None
        inside = {start, *nodes}
        side_inputs = frozenset(value for node in nodes for value in node.all_input_nodes if value not in inside)
        return cls(network, start, nodes, side_inputs, _narrow(network, set(nodes)))

    @property
    def reads(self) -> frozenset[tuple[fx.Node, fx.Node]]:
        """Keys of the side inputs."""
        pairs = ((node, source) for node in self.nodes for source in node.all_input_nodes)
        return frozenset(pair for pair in pairs if pair[1] in self.side_inputs and pair[0].op != "output")

    @property
    def hidden(self) -> str | None:
        """Why other values than those that ran may go another way; None where all of it was seen."""
        network = self.network
        if network.under_autocast:
            return "it changes the type of its operations on its own"
        if self.side_inputs & network.unseen:
            return "part of it is no operation of PyTorch"
        if network.decisions.intersection((self.start, *self.nodes)):
            return "which way it goes depends on the values"
        return None

    @property
    def narrow_classes(self) -> int:
        """Channels of the convolution that can be narrowed; 0 without one."""
        if self.narrow is None:
            return 0
        return self.network.shapes[self.narrow][1]

    def run(self, maps: Tensor, side_inputs: SideInputs, labels: Tensor | None = None) -> TailRun:
        """Run it.

        Args:
            maps: In place of the value, ``(R, ...)``; may be written over.
            side_inputs: The side inputs, as each operation reads them; may be written over.
            labels: Class whose score is wanted of each row, ``(R,)``, if no other one is.
        """
        interpreter = Interpreter(self.network, len(maps))
        interpreter.env = {self.start: maps}
        numbers, narrowed = 0, False
        result: Any = None
        for node in self.nodes:
            read = (value for value in node.all_input_nodes if value in self.side_inputs)
            interpreter.env.update({value: side_inputs[node, value] for value in read})
            # The other classes' scores would be thrown away: one channel costs a thousandth on ImageNet.
            if node is self.narrow and labels is not None:
                result, narrowed = self._one_channel(node, interpreter.env, labels), True
            else:
                result = interpreter.run_node(node)
            interpreter.env[node] = result
            numbers += result.numel() if isinstance(result, Tensor) else 0
            # Many copies run at once: what nothing reads any more must not stay in memory.
            for freed in interpreter.user_to_last_uses.get(node, []):
                interpreter.env.pop(freed, None)
        return TailRun(result, narrowed, numbers)

    def _one_channel(self, node: fx.Node, values: Mapping[fx.Node, Any], labels: Tensor) -> Tensor:
        maps, weight, bias = (values.get(part) for part in _weights(node))
        if maps is None or weight is None:
            raise KeyError(node)
        of_label: Tensor = weight.flatten(1)[labels]
        scores = torch.bmm(of_label[:, None], maps.flatten(2)).view(len(maps), 1, *maps.shape[2:])
        return scores if bias is None else scores + bias[labels][:, None, None, None]


def _weights(node: fx.Node) -> tuple[Any, Any, Any]:
    """Input, weight and bias of a convolution."""
    given = dict(enumerate(node.args)) | {
        ("input", "weight", "bias").index(k): v for k, v in node.kwargs.items() if k in ("input", "weight", "bias")
    }
    return given[0], given[1], given.get(2)


def _narrow(network: Network, after: set[fx.Node]) -> fx.Node | None:
    scores = set(class_score_nodes(network))
    if len(network.outputs) != 1:
        return None
    node = network.outputs[0]
    while node in after and len(node.users) == 1:
        kind = kind_of(node, network.model)
        if kind is Kind.CONVOLUTION:
            return node if node in scores and _is_pointwise(network, node) else None
        # An activation with weights, such as PReLU, has one for each channel.
        if kind not in _TREAT_CHANNELS_ALIKE or len(node.all_input_nodes) != 1:
            return None
        node = node.all_input_nodes[0]
    return None


def _is_pointwise(network: Network, node: fx.Node) -> bool:
    """Whether a convolution of two dimensions has one product per place."""
    shape, weight = network.shapes[node], network.shapes[_weights(node)[1]]
    before = network.shapes[node.all_input_nodes[0]]
    return "transpose" not in str(node.target) and weight == (shape[1], before[1], 1, 1) and before[2:] == shape[2:]
