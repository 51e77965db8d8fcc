"""The small networks with inputs, labels and the layers whose filters are scored."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from cases import networks as nets
from oracles.parameter_saliency import profile_loop
from oracles.weights import seeded
from torch import Tensor, nn


@dataclass(frozen=True)
class Example:
    """What is scored.

    Attributes:
        model: In evaluation mode, float64.
        inputs: One tensor, or a tuple of them.
        target: ``(N,)`` labels.
        layers: The names that the scores must come in, in this order.
        select: What ``ParameterSaliency`` gets as ``layers``.
        extra: ``additional_forward_args``.
    """

    model: nn.Module
    inputs: Tensor | tuple[Tensor, ...]
    target: Tensor
    layers: tuple[str, ...]
    select: Any = None
    extra: tuple[Any, ...] = ()

    def oracle(self, *, one_forward: bool = False) -> dict[str, Tensor]:
        return profile_loop(
            self.model,
            self.inputs,
            self.target,
            self.layers,
            additional_forward_args=self.extra,
            one_forward=one_forward,
        )

    def rounding(self) -> list[dict[str, Tensor]]:
        """The loop in the model's own precision, on both of its roads."""
        return [self.oracle(), self.oracle(one_forward=True)]

    def to(self, dtype: torch.dtype) -> Example:
        """A copy of another precision; integers stay."""

        def convert(value: Any) -> Any:
            floating = isinstance(value, Tensor) and value.is_floating_point()
            return value.to(dtype) if floating else deepcopy(value)

        inputs = tuple(map(convert, self.inputs)) if isinstance(self.inputs, tuple) else convert(self.inputs)
        return replace(self, model=deepcopy(self.model).to(dtype), inputs=inputs, extra=tuple(map(convert, self.extra)))


def image(*shape: int, seed: int = 11) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def example(model: nn.Module, inputs: Any, layers: str, select: Any = None, extra: tuple[Any, ...] = ()) -> Example:
    count = len(inputs[0]) if isinstance(inputs, tuple) else len(inputs)
    arguments = (*(inputs if isinstance(inputs, tuple) else (inputs,)), *extra)
    seeded(model.double(), *arguments)
    return Example(model, inputs, torch.arange(count) % 3, tuple(layers.split()), select, extra)


PADDED = torch.tensor([[False] * 4, [False, False, False, True], [False, False, True, True]])

CASES: dict[str, Callable[[], Example]] = {
    "in-place": lambda: example(nets.InPlace(), image(3, 2, 6, 6), "first second third"),
    "twice": lambda: example(nets.Twice(), image(3, 2, 7, 7), "stem shared"),
    "twice in two sizes": lambda: example(nets.TwiceInTwoSizes(), image(3, 2, 8, 8), "shared"),
    "functional weight": lambda: example(nets.FunctionalWeight(), image(3, 2, 8, 8), "stem borrowed"),
    "called and borrowed": lambda: example(nets.CalledAndBorrowed(), image(3, 6), "encoder head", nn.Linear),
    "tied to an embedding": lambda: example(
        nets.TiedEmbedding(),
        torch.tensor([[0, 3, 3, 6], [1, 2, 2, 5]]),
        "convolution output",
        ["convolution", "output"],
    ),
    "video": lambda: example(nets.Video(time_major=False), image(2, 3, 2, 5, 5), "frame"),
    "video, time first": lambda: example(nets.Video(time_major=True), image(2, 3, 2, 5, 5), "frame"),
    "video, time first, as many frames as videos": lambda: example(
        nets.Video(time_major=True), image(3, 3, 2, 5, 5), "frame"
    ),
    "sequence first": lambda: example(
        nets.SequenceFirst(),
        image(2, 5, 6),
        "before attention attention.out_proj head",
        [nn.Linear, nn.MultiheadAttention],
    ),
    "sequence first, as long as the batch": lambda: example(
        nets.SequenceFirst(),
        image(4, 4, 6),
        "before attention attention.out_proj head",
        [nn.Linear, nn.MultiheadAttention],
    ),
    "batch in another order": lambda: example(nets.BatchInAnyOrder(), image(3, 2, 5, 5), "inside"),
    "batch twice": lambda: example(nets.BatchTwice(), image(3, 2, 5, 5), "both"),
    "one by one": lambda: example(nets.OneByOne(), image(3, 2, 5, 5), "single"),
    "one by one, a single image": lambda: example(nets.OneByOne(), image(1, 2, 5, 5), "single"),
    "one by one, as many as channels": lambda: example(nets.OneByOne(), image(2, 2, 5, 5), "single"),
    "shared query": lambda: example(nets.SharedQuery(), image(3, 2, 6, 6), "query key"),
    "shared query, a single image": lambda: example(nets.SharedQuery(), image(1, 2, 6, 6), "query key"),
    "experts per image": lambda: example(
        nets.Experts(tokens_per_image=1), image(4, 6), "experts.0 experts.1 head", nn.Linear
    ),
    "experts per token": lambda: example(
        nets.Experts(tokens_per_image=2), image(3, 2, 6), "experts.0 experts.1 head", "*"
    ),
    "checkpointed": lambda: example(nets.Checkpointed(), image(3, 2, 6, 6), "stem again"),
    "stopped gradients": lambda: example(nets.Stopped(), image(3, 2, 6, 6), "trunk branch live"),
    "discarded calls": lambda: example(nets.Discarded(), image(3, 2, 6, 6), "used unused"),
    "convolution that changes its weight": lambda: example(
        nets.Around(nets.StandardizedConv2d(2, 4, 3), 4), image(3, 2, 6, 6), "layer"
    ),
    "convolution that pads for itself": lambda: example(
        nets.Around(nets.SamePaddedConv2d(2, 4, 3), 4), image(3, 2, 6, 6), "layer"
    ),
    "convolution by another name": lambda: example(
        nets.Around(nets.PlainConv2d(2, 4, 3), 4), image(3, 2, 6, 6), "layer"
    ),
    "called by keyword": lambda: example(
        nets.Keywords(), image(3, 2, 6, 6), "convolution linear", ["convolution", "linear"]
    ),
    "told the size": lambda: example(nets.Upsampling(), image(3, 2, 8, 8), "down up"),
    "normalisation": lambda: example(
        nets.Everything(),
        image(3, 2, 6, 6),
        "convolution batch_norm group_norm layer_norm prelu scale",
        ["scale", "prelu", "layer_norm", "group_norm", "batch_norm", "convolution"],
    ),
    "own layer": lambda: example(nets.Everything(), image(3, 2, 6, 6), "scale", nets.Scale),
    "two inputs": lambda: example(
        nets.TwoImages(),
        (image(3, 2, 5, 5), image(3, 3, 6)),
        "left right",
        extra=(torch.tensor([0.5, 1.0, 2.0]).double(), 2, True, None),
    ),
    "cross attention": lambda: example(
        nets.CrossAttention(), image(3, 4, 6), "query attention attention.out_proj head", "*"
    ),
    "cross attention, padded, no bias": lambda: example(
        nets.CrossAttention(bias=False), image(3, 4, 6), "attention", "attention", (PADDED,)
    ),
    "cross attention, sequence first": lambda: example(
        nets.CrossAttention(batch_first=False), image(3, 4, 6), "attention", nn.MultiheadAttention
    ),
    "encoder": lambda: example(
        nets.Encoder(),
        image(3, 4, 8),
        "encoder.layers.0.self_attn encoder.layers.0.self_attn.out_proj encoder.layers.0.linear1 "
        "encoder.layers.0.linear2 encoder.layers.1.self_attn encoder.layers.1.self_attn.out_proj "
        "encoder.layers.1.linear1 encoder.layers.1.linear2 head",
        [nn.Linear, nn.MultiheadAttention],
    ),
}
