"""The walk from the class scores back to the pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from captum_paramsal.graph import rules as _rules  # noqa: F401 -- registers them
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
        shape: Of the layer's result: ``(N, C)``, maps ``(N, C, *size)``, or with channels last ``(N, *size, C)``.
        channels_last: Whether the channels are the last dimension.
        images: How many images there are, N.
    """

    sites: Sites
    shape: torch.Size
    channels_last: bool
    images: int

    @property
    def size(self) -> tuple[int, int, int]:
        """Channels, height and width; 1 in a vector. Of other than two dimensions, the height holds all but the last.

        Where the first dimension is not the images alone, as of windows or of tokens that come first, all places of an
        image are in the height.
        """
        channels, places = self._dimensions()
        *rows, width = places if len(places) > 1 else (*places, 1)
        return channels, prod(rows) if places else 1, width

    def places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Channel, row and column of each neuron."""
        channels, height, width = self.size
        index, count = self.sites.index, height * width
        if self.channels_last:
            place, channel = index // channels, index % channels
        else:
            place, channel = index // (channels * count) * count + index % count, index // count % channels
        if self._images_first:
            place = place - self.sites.image * count
        elif self.shape[1:2] == (self.images,):
            place = place // self.images
        return channel, place // width, place % width

    @property
    def _images_first(self) -> bool:
        return self.shape[0] % self.images == 0 and not self._tokens_first

    @property
    def _tokens_first(self) -> bool:
        """Whether the images are the second dimension, as the neurons themselves show."""
        if not self.channels_last or len(self.shape) != 3 or self.shape[1] != self.images:
            return False
        second = self.sites.index // self.shape[2] % self.images
        first = self.sites.index // (self.shape[1] * self.shape[2])
        return bool((second == self.sites.image).all()) and not bool((first == self.sites.image).all())

    def _dimensions(self) -> tuple[int, Sequence[int]]:
        channels, places = (self.shape[-1], self.shape[1:-1]) if self.channels_last else (self.shape[1], self.shape[2:])
        if self._tokens_first:
            return channels, (self.shape[0],)
        if self.shape[0] != self.images and self.channels_last:
            return channels, (prod(self.shape[:-1]) // self.images,)
        return channels, places


def trace_back(run: Run, labels: Tensor, settings: TraceSettings) -> dict[str, Selected]:
    """Follow the scores of some classes back through every operation, all images at once.

    Args:
        run: A forward pass that returned class scores ``(N, C, ...)``.
        labels: Which of each image's scores, as a place in the image's flattened output, ``(N,)``.
        settings: What the trace follows.

    Returns:
        The selected neurons of the scores (``"output"``), of every layer with weights (by its name) and of the
        network's first input (``"input"``), in this order.

    Raises:
        TraceError: An operation without a rule was reached, or a tensor that came about unseen.
    """
    nodes, images = run.graph.nodes, len(labels)
    scores: Any = next(node for node in nodes if node.op == "output").args[0]
    start = _start(run.output.flatten(1), labels)
    nothing = start[torch.zeros_like(labels, dtype=torch.bool)]
    image = next(node for node in nodes if node.op == "placeholder")
    waiting: dict[fx.Node, list[Sites]] = defaultdict(list, {scores: [start]})
    apart = {scores}
    layers = {"output": Selected(start, run.output.shape, channels_last=False, images=images)}
    # All users of a value come after it in the graph: when its turn comes, everything has arrived.
    for node in reversed(nodes):
        arrived = waiting.pop(node, [])
        rule = trace_rule_of(node, run.model) if node in run.of_inputs else None
        step = Step(run, node, settings, support)
        layer = rule is not None and rule.is_layer(step)
        if not arrived and not layer and node is not image:
            continue
        # Joining sorts: it is left out where neurons that are each there once were only passed on, one to one.
        sites = arrived[0] if len(arrived) == 1 and node in apart else Sites.joined([nothing, *arrived])
        if rule is not None and layer:
            last = rule.channel_dimension == -1
            layers[_name(node, layers)] = Selected(sites, run.shapes[node], last, images)
        elif node is image:
            layers["input"] = Selected(sites, run.shapes[node], channels_last=False, images=images)
        if arrived and node in run.of_inputs and node.op != "placeholder":
            rule = require_rule(step)
            for source, neurons in rule.back(step, sites):
                waiting[source].append(neurons)
                if isinstance(rule, Passing):
                    apart.add(source)
    return layers


def _start(scores: Tensor, labels: Tensor) -> Sites:
    images = torch.arange(len(scores), device=scores.device)
    scores = scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
    own = scores[images, labels]
    nothing = torch.zeros_like(own)
    supports = torch.stack([own, nothing, nothing, nothing], dim=1)
    return Sites(images, images * scores.shape[1] + labels, torch.ones_like(own), supports)


def _name(node: fx.Node, taken: dict[str, Selected]) -> str:
    """Name of a layer; a second call of the same one is numbered, from the last one back."""
    name = str(node.target) if node.op == "call_module" else node.meta["layer"] or node.name
    return (
        name
        if name not in taken
        else next(f"{name}#{n}" for n in range(2, len(taken) + 3) if f"{name}#{n}" not in taken)
    )
