"""The walk from the class scores back to the pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from captum_paramsal.errors import InputError
from captum_paramsal.graph import rules
from captum_paramsal.graph.registry import require_rule, support, trace_rule_of
from captum_paramsal.graph.rule import Passing
from captum_paramsal.graph.settings import TraceSettings
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Run, Step


@dataclass(frozen=True)
class Selected:
    """The selected neurons of a layer.

    Attributes:
        sites: The neurons of all images.
        shape: Of one image's result: ``(C,)``, ``(C, H, W)``, or ``(H, W, C)`` of a linear layer over a map.
        channels_last: Whether the channels are the last dimension.
    """

    sites: Sites
    shape: torch.Size
    channels_last: bool = False

    @property
    def size(self) -> tuple[int, int, int]:
        """Channels, height and width; 1 in a vector."""
        channels, *places = (self.shape[-1], *self.shape[:-1]) if self.channels_last else self.shape
        height, width = (*places, 1, 1)[:2]
        return channels, height, width

    def places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Channel, row and column of each neuron."""
        channels, height, width = self.size
        index, count = self.sites.index, height * width
        place, channel = (
            (index // channels, index % channels) if self.channels_last else (index % count, index // count)
        )
        return channel, place // width, place % width


def trace_back(run: Run, targets: Tensor, settings: TraceSettings) -> dict[str, Selected]:
    """Follow the scores of some classes back through every operation, all images at once.

    Args:
        run: A forward pass that returned class scores ``(N, C, ...)``.
        targets: Which of each image's scores, as a place in the image's flattened output, ``(N,)``.
        settings: What the trace follows.

    Returns:
        The selected neurons of the scores (``"output"``), of every layer with weights (by its name) and of the
        network's first input (``"input"``), in this order.

    Raises:
        TraceError: An operation without a rule was reached.
        InputError: The model returns more than class scores.
    """
    nodes = run.graph.nodes
    output = next(node for node in nodes if node.op == "output")
    scores = output.args[0]
    if not isinstance(scores, fx.Node):
        message = f"Expected a model that returns class scores alone, got {type(scores).__name__}."
        raise InputError(message)
    start = _start(run.output.flatten(1), targets)
    nothing = start[torch.zeros_like(targets, dtype=torch.bool)]
    image = next(node for node in nodes if node.op == "placeholder")
    waiting: dict[fx.Node, list[Sites]] = defaultdict(list, {scores: [start]})
    apart = {scores}
    layers = {"output": Selected(start, run.output.shape[1:])}
    # All users of a value come after it in the graph: when its turn comes, everything has arrived.
    for node in reversed(nodes):
        arrived = waiting.pop(node, [])
        # Joining sorts: it is left out where neurons that are each there once were only passed on, one to one.
        sites = arrived[0] if len(arrived) == 1 and node in apart else Sites.joined([nothing, *arrived])
        if node.op in ("call_module", "call_function") and _has_weights(node, run.modules):
            last = isinstance(trace_rule_of(node, run.modules), rules.linear.Linear)
            layers[_name(node, layers)] = Selected(sites, run.shapes[node][1:], channels_last=last)
        elif node is image:
            layers["input"] = Selected(sites, run.shapes[node][1:])
        if arrived and node.op not in ("placeholder", "get_attr"):
            step, rule = Step(run, node, settings, support), require_rule(node, run.modules)
            for source, neurons in rule.back(step, sites):
                waiting[source].append(neurons)
                if isinstance(rule, Passing):
                    apart.add(source)
    return layers


def _start(scores: Tensor, targets: Tensor) -> Sites:
    images = torch.arange(len(scores), device=scores.device)
    own = scores[images, targets]
    nothing = torch.zeros_like(own)
    return Sites(images, targets, torch.ones_like(own), torch.stack([own, nothing, nothing, nothing], dim=1))


def _has_weights(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether an operation is a layer of its own in a trace."""
    rule = trace_rule_of(node, modules)
    return rule is not None and rule.has_weights


def _name(node: fx.Node, taken: dict[str, Selected]) -> str:
    """Name of a layer; a second call of the same one is numbered, from the last one back."""
    name = str(node.target) if node.op == "call_module" else node.name
    return (
        name
        if name not in taken
        else next(f"{name}#{n}" for n in range(2, len(taken) + 3) if f"{name}#{n}" not in taken)
    )
