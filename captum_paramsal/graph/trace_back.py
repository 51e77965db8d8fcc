"""The walk from the class scores back to the pixels."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from captum_paramsal.graph import rules as _rules  # noqa: F401 -- registers them
from captum_paramsal.graph.links import Links
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
        tokens_first: Whether the rows are known to be tokens of all images in turn; None where the neurons show it.
    """

    sites: Sites
    shape: torch.Size
    channels_last: bool
    images: int
    tokens_first: bool | None = None

    @property
    def size(self) -> tuple[int, int, int]:
        """Channels, height and width; 1 in a vector. Of other than two dimensions, the height holds all but the last.

        Where the first dimension is not the images alone, as of windows or of tokens that come first, all places of an
        image are in the height.
        """
        channels, places = (self.shape[-1], self.shape[1:-1]) if self.channels_last else (self.shape[1], self.shape[2:])
        if self.shape[0] == self.images and not self._tokens_first:
            *rows, width = places if len(places) > 1 else (*places, 1)
            return channels, prod(rows) if places else 1, width
        # A map of each frame keeps its width; rows of tokens or windows have none.
        width = 1 if self.channels_last or len(places) < 2 else places[-1]
        return channels, self._rows // self.images // width, width

    def places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Channel, row and column of each neuron."""
        channels, height, width = self.size
        index, inner = self.sites.index, 1 if self.channels_last else self.shape[2:].numel()
        place, channel = index // (channels * inner) * inner + index % inner, index // inner % channels
        place = place // self.images if self._tokens_first else place - self.sites.image * height * width
        return channel, place // width, place % width

    @property
    def _rows(self) -> int:
        """Places of all images together."""
        return self.shape.numel() // (self.shape[-1] if self.channels_last else self.shape[1])

    @property
    def _tokens_first(self) -> bool:
        """Whether the images take turns in the rows, as the neurons show where it is not known."""
        if not self.channels_last or self.images in (1, self._rows):
            return False
        if self.tokens_first is not None:
            return self.tokens_first
        row = self.sites.index // self.shape[-1]
        in_turn = bool((row % self.images == self.sites.image).all())
        one_by_one = bool((row // (self._rows // self.images) == self.sites.image).all())
        # Few neurons may fit both: then what the shape says counts.
        alternate = len(self.shape) > 2 and self.shape[0] != self.images == self.shape[1]
        return in_turn and (alternate or not one_by_one)


def trace_back(run: Run, labels: Tensor, settings: TraceSettings, links: Links | None = None) -> dict[str, Selected]:
    """Follow the scores of some classes back through every operation, all images at once.

    Args:
        run: A forward pass that returned class scores ``(N, C, ...)``.
        labels: Which of each image's scores, as places in the image's flattened output, ``(N,)`` or ``(N, n)``.
        settings: What the trace follows.
        links: Where it is noted which neuron was kept for which; by default, nowhere.

    Returns:
        The selected neurons of the scores (``"output"``), of every layer with weights (by its name) and of the
        network's first input (``"input"``), in this order.

    Raises:
        TraceError: An operation without a rule was reached, or a tensor that came about unseen.
    """
    nodes, images = run.graph.nodes, len(labels)
    scores: Any = next(node for node in nodes if node.op == "output").args[0]
    start = _start(run.output.flatten(1), labels)
    nothing = start[:0]
    image = next(node for node in nodes if node.op == "placeholder")
    waiting: dict[fx.Node, list[Sites]] = defaultdict(list, {scores: [start]})
    apart, tokens_first = {scores}, _inside_attention(run.model)
    layers = {"output": Selected(start, run.output.shape, channels_last=False, images=images)}
    named = {"output": scores}
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
        if layer or node is image:
            name = _name(node, layers) if layer else "input"
            last = rule is not None and rule.channel_dimension == -1
            in_turn = True if layer and node.meta.get("layer") in tokens_first else None
            layers[name], named[name] = Selected(sites, run.shapes[node], last, images, in_turn), node
        sites = sites if links is None else links.arrive(node, sites)
        if arrived and node in run.of_inputs and node.op != "placeholder":
            rule = require_rule(step)
            for source, neurons in rule.back(step, sites):
                waiting[source].append(neurons)
                if links is not None:
                    links.keep(node, source, neurons)
                if isinstance(rule, Passing):
                    apart.add(source)
    if links is not None:
        links.layers.update(named)
    return layers


def _start(scores: Tensor, labels: Tensor) -> Sites:
    scores = scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
    # Neurons stand sorted by image and place.
    labels = labels.reshape(len(scores), -1).sort(dim=1).values
    images = torch.arange(len(scores), device=scores.device).repeat_interleave(labels.shape[1])
    scored, index = scores.gather(1, labels).flatten(), images * scores.shape[1] + labels.flatten()
    nothing = torch.zeros_like(scored)
    return Sites(images, index, torch.ones_like(scored), torch.stack([scored, nothing, nothing, nothing], dim=1))


def _inside_attention(model: nn.Module) -> set[str]:
    """The layers of every `nn.MultiheadAttention`, which has tokens first inside, whatever it is given."""
    attentions = [name for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)]
    return {*attentions, *(f"{name}.out_proj" for name in attentions)}


def _name(node: fx.Node, taken: dict[str, Selected]) -> str:
    """Name of a layer; a second call of the same one is numbered, from the last one back."""
    name = str(node.target) if node.op == "call_module" else node.meta["layer"] or node.name
    return (
        name
        if name not in taken
        else next(f"{name}#{n}" for n in range(2, len(taken) + 3) if f"{name}#{n}" not in taken)
    )
