"""The tail of a network: what lies after one of its values, to be run on its own, as often as needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from captum_paramsal.graph.class_scores import class_scores_of
from captum_paramsal.graph.network import Interpreter, Network
from captum_paramsal.graph.operations import Kind, kind_of, writes_in_place

SideInputs: TypeAlias = Mapping[tuple[fx.Node, fx.Node], Any]
"""What an operation reads that is not run again, by (operation, what it reads)."""

_TREAT_CHANNELS_ALIKE = frozenset({
    Kind.ACTIVATION, Kind.ELEMENTWISE, Kind.NEGATION, Kind.SAME, Kind.DROPOUT, Kind.AVERAGE_POOL, Kind.FLATTENING,
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


@dataclass(frozen=True)
class TailNetwork:
    """The operations of a network that depend on one of its values.

    Attributes:
        network: The whole.
        start: The value.
        nodes: Operations that depend on it, in order; the output is the last.
        side_inputs: Values that these operations read and that do not depend on it, such as a shortcut's.
        of_inputs: All values that depend on the network's inputs.
        narrow: Pointwise convolution that holds the class scores, of which one channel is enough; None without.
    """

    network: Network
    start: fx.Node
    nodes: tuple[fx.Node, ...]
    side_inputs: frozenset[fx.Node]
    of_inputs: frozenset[fx.Node]
    narrow: fx.Node | None

    @classmethod
    def of(cls, network: Network, start: fx.Node) -> TailNetwork | None:
        """The tail after ``start``; None if the output does not depend on it."""
        nodes = tuple(_after(network, start))
        if not nodes or nodes[-1].op != "output":
            return None
        inside = {start, *nodes}
        side_inputs = frozenset(value for node in nodes for value in node.all_input_nodes if value not in inside)
        return cls(network, start, nodes, side_inputs, _of_inputs(network), _narrow(network, set(nodes)))

    @property
    def narrow_classes(self) -> int:
        """Channels of the convolution that can be narrowed; 0 without one."""
        if self.narrow is None:
            return 0
        convolution: Any = self.network.model.get_submodule(str(self.narrow.target))
        return int(convolution.out_channels)

    def reads_from(self, told: Collection[fx.Node]) -> bool:
        """Whether a side input is, or depends on, one of these values."""
        depending = set(told)
        for node in self.network.graph.nodes:
            if any(value in depending for value in node.all_input_nodes):
                depending.add(node)
        return bool(depending & self.side_inputs)

    def run(self, maps: Tensor, side_inputs: SideInputs, labels: Tensor | None = None) -> TailRun:
        """Run it.

        Args:
            maps: In place of the value, ``(R, ...)``; may be written over.
            side_inputs: The side inputs, as each operation reads them; may be written over.
            labels: Class whose score is wanted of each row, ``(R,)``, if no other one is.
        """
        interpreter = Interpreter(self.network)
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
        convolution: Any = self.network.model.get_submodule(str(node.target))
        maps: Tensor = values[node.all_input_nodes[0]]
        weight: Tensor = convolution.weight.flatten(1)[labels]
        scores = torch.bmm(weight[:, None], maps.flatten(2)).view(len(maps), 1, *maps.shape[2:])
        return scores if convolution.bias is None else scores + convolution.bias[labels][:, None, None, None]


def _after(network: Network, start: fx.Node) -> Iterator[fx.Node]:
    """Operations that depend on a value, also by writing over what a later one reads."""
    depending = {start}
    for node in network.graph.nodes:
        if node is start or not any(value in depending for value in node.all_input_nodes):
            continue
        depending.add(node)
        if node.args and isinstance(node.args[0], fx.Node) and writes_in_place(node, network.model):
            depending.add(node.args[0])
        yield node


def _of_inputs(network: Network) -> frozenset[fx.Node]:
    depending: set[fx.Node] = set()
    for node in network.graph.nodes:
        if node.op == "placeholder" or any(value in depending for value in node.all_input_nodes):
            depending.add(node)
    return frozenset(depending)


def _narrow(network: Network, after: set[fx.Node]) -> fx.Node | None:
    scores = class_scores_of(network.graph, network.model)
    modules = dict(network.model.named_modules())
    output = next(node for node in network.graph.nodes if node.op == "output")
    node = output.args[0]
    while isinstance(node, fx.Node) and node in after and len(node.users) == 1:
        module = modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(module, nn.Conv2d):
            return node if str(node.target) in scores and _is_plain(module) else None
        # An activation with weights, such as PReLU, has one for each channel.
        weighted = module is not None and any(True for _ in module.parameters())
        if kind_of(node, modules) not in _TREAT_CHANNELS_ALIKE or weighted or len(node.all_input_nodes) != 1:
            return None
        node = node.all_input_nodes[0]
    return None


def _is_plain(module: nn.Conv2d) -> bool:
    """One product per place, and no hook of anybody."""
    watched = bool(module._forward_hooks or module._forward_pre_hooks)  # noqa: SLF001 -- has no public name
    steps = (*module.kernel_size, *module.stride, module.groups)
    return type(module) is nn.Conv2d and not watched and set(steps) == {1} and module.padding in ((0, 0), "valid")
