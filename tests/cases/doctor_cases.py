"""Networks with a layer to diagnose, and what the slow Model Doctor says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from cases import doctor_networks as nets, networks, tracing_networks as parts
from cases.images import image
from oracles import model_doctor as oracle
from oracles.deviation import assert_exact
from oracles.weights import seeded
from torch import Tensor, nn

from captum_paramsal import ModelDoctor
from captum_paramsal.functional import disturbances

RULES = ("reduce", "score", "multiply_by_inputs")


@dataclass(frozen=True)
class Case:
    """What is diagnosed.

    Attributes:
        model: In evaluation mode, float64.
        inputs: One tensor, or a tuple of them.
        layers: Every one of them is diagnosed for itself.
        target: A class per image.
        extra: ``additional_forward_args``.
    """

    model: nn.Module
    inputs: Tensor | tuple[Tensor, ...]
    layers: tuple[str, ...]
    target: Any
    extra: tuple[Any, ...] = ()

    def size(self, layer: str, *, layer_input: bool = False) -> tuple[int, ...]:
        """(K, H, W) of a layer's map."""
        inputs = self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)
        rules = oracle.Rules(layer_input=layer_input)
        return tuple(oracle.one_pass(self.model, (*inputs, *self.extra), layer, 0.0, rules)[1].shape[1:])

    def expected(self, layer: str, drawn: Tensor | None, *, layer_input: bool = False, **rules: Any) -> Tensor:
        return oracle.evidence(
            self.model, self.inputs, self.target, layer, drawn,
            rules=oracle.Rules(**rules, layer_input=layer_input), additional_forward_args=self.extra,
        )  # fmt: skip

    def found(self, layer: Any, options: dict[str, Any], **given: Any) -> Any:
        doctor = ModelDoctor(self.model, layer, **options)
        return doctor.attribute(self.inputs, self.target, self.extra or None, **given)

    def check(self, layer: str, *, layer_input: bool = False, noise_samples: int = 3, **given: Any) -> None:
        """Equal to the oracle with the same disturbances; ``given`` goes to whom it belongs."""
        options = {key: given.pop(key) for key in (*RULES, "noise", "noise_range", "seed") if key in given}
        options |= {"noise_samples": noise_samples}
        found = self.found(layer, options, attribute_to_layer_input=layer_input, **given)
        found = found[0] if isinstance(found, tuple) else found
        drawn = drawn_for(self.size(layer, layer_input=layer_input), **options)
        rules = {key: options[key] for key in RULES if key in options}
        expected = self.expected(layer, drawn, layer_input=layer_input, **rules)
        assert found.shape == expected.shape, f"{layer}: {tuple(found.shape)}, expected {tuple(expected.shape)}"
        assert_exact(f"{type(self.model).__name__} {options} {given}", flat(layer, found), flat(layer, expected))


def flat(layer: str, maps: Tensor) -> dict[str, Tensor]:
    return {layer: maps.flatten(1)}


def drawn_for(
    size: tuple[int, ...],
    noise_samples: int = 10,
    noise_range: float = 0.1,
    noise: str = "uniform",
    seed: int = 0,
    **_: Any,
) -> Tensor:
    """The disturbances that a doctor with these options adds to a map of this size."""
    return disturbances(noise_samples, size, noise_range, noise, seed).double()


def case(
    model: nn.Module, inputs: Any, layers: str, *, extra: tuple[Any, ...] = (), classes: int = 3, target: Any = None
) -> Case:
    count = len(inputs[0]) if isinstance(inputs, tuple) else len(inputs)
    seeded(model.double(), *(inputs if isinstance(inputs, tuple) else (inputs,)), *extra)
    target = torch.arange(count) % classes if target is None else target
    return Case(model, inputs, tuple(layers.split()), target, extra)


def class_scores(ending: str, layers: str = "features", **arguments: Any) -> Case:
    return case(nets.ClassScores(ending, **arguments), image(3, 2, 7, 7), layers)


CASES: dict[str, Callable[[], Case]] = {
    "straight": lambda: case(nets.straight(), image(3, 2, 8, 8), "0 1 2 3"),
    "written over": lambda: case(networks.InPlace(), image(3, 2, 6, 6), "first second third"),
    "shortcut written over": lambda: case(nets.ShortcutWrittenOver(), image(3, 2, 7, 7), "stem layer after"),
    "batch norm": lambda: case(
        nn.Sequential(*parts.conv_bn(2, 4), *parts.conv_bn(4, 4), *parts.gap(4)), image(3, 2, 8, 8), "0 1 2 3 4"
    ),
    "skip": lambda: case(
        nn.Sequential(*parts.conv(2, 4), parts.Residual(nn.Conv2d(4, 4, 3, padding=1)), nn.ReLU(), *parts.gap(4)),
        image(3, 2, 7, 7),
        "0 2.body 2",
    ),
    "blocks": lambda: case(
        nn.Sequential(*parts.conv(2, 4), parts.basic_block(4, 6, 2), parts.basic_block(6, 6, 1), *parts.gap(6)),
        image(3, 2, 9, 9),
        "2 2.body 2.shortcut 2.body.0 3.body.1 3",
    ),
    "blocks in place": lambda: case(
        nn.Sequential(
            *parts.conv(2, 4),
            parts.basic_block(4, 6, 2, in_place=True),
            parts.basic_block(6, 6, 1, in_place=True),
            *parts.gap(6),
        ),
        image(3, 2, 9, 9),
        "2 2.body 2.shortcut.0 2.body.0 3.body.2 3",
    ),
    "branches": lambda: case(
        nn.Sequential(*parts.conv_bn(2, 4), parts.inception(4), *parts.gap(11)),
        image(3, 2, 8, 8),
        "3 3.branch.0 3.branch.1.3 3.branch.2.0 3.branch.3.1",
    ),
    "gates": lambda: case(
        nn.Sequential(*parts.conv(2, 4), parts.inverted_residual(4, 6), *parts.gap(4)),
        image(3, 2, 7, 7),
        "2 2.body.0 2.body.6 2.body.6.gate.0 2.body.7",
    ),
    "shuffled": lambda: case(
        nn.Sequential(*parts.conv(2, 4), parts.ShuffleUnit(4), *parts.gap(4)), image(3, 2, 7, 7), "0 2 2.body.3"
    ),
    "functions": lambda: case(parts.Functions(), image(3, 3, 17, 17), "first second norm third"),
    "functional weight": lambda: case(networks.FunctionalWeight(), image(3, 2, 8, 8), "stem"),
    "around": lambda: case(nets.PerImageAround(), image(3, 2, 9, 9), "stem layer"),
    "two pictures": lambda: case(
        nets.TwoPictures(),
        (image(3, 2, 5, 5), image(3, 3, 6, 4)),
        "left right",
        extra=(torch.tensor([0.5, 1.0, 2.0]).double(), 2),
    ),
    "two inputs, unclear options": lambda: case(
        networks.TwoImages(),
        (image(3, 2, 5, 5), image(3, 3, 6)),
        "left",
        extra=(torch.tensor([0.5, 1.0, 2.0]).double(), 2, True, None),
    ),
    "upsampled": lambda: case(networks.Upsampling(), image(3, 2, 8, 8), "down up"),
    "checkpointed": lambda: case(networks.Checkpointed(), image(3, 2, 6, 6), "stem"),
    "shared query": lambda: case(networks.SharedQuery(), image(3, 2, 6, 6), "key"),
    "dense net": lambda: case(nets.FunctionalDense(), image(3, 2, 8, 8), "features features.3 features.4.new.2"),
    "small resnet": lambda: case(nets.SmallResNet(), image(3, 2, 10, 10), "layer1 layer2 layer2.0.downsample"),
    "small vgg": lambda: case(nets.SmallVGG(), image(3, 2, 10, 10), "features features.0 features.3 avgpool"),
    "small squeezenet": lambda: case(
        nets.SmallSqueezeNet(), image(3, 2, 12, 12), "features features.0 features.5 classifier.0 classifier.1"
    ),
    "result ignored": lambda: case(nets.ResultIgnored(), image(3, 2, 7, 7), "stem layer"),
    "made of sizes, 6 of 7 x 7": lambda: case(nets.MadeOfSizes(), image(6, 2, 7, 7), "layer"),
    "made of sizes, 7 of 7 x 7": lambda: case(nets.MadeOfSizes(), image(7, 2, 7, 7), "layer"),
    "made of ones, 7 of 7 x 7": lambda: case(nets.MadeOfSizes(of_ones=True), image(7, 2, 7, 7), "layer"),
    "small googlenet": lambda: case(nets.SmallGoogLeNet(), image(3, 2, 8, 8), "inception1 inception2.branch.3"),
}
for way in ("view", "reshape", "length", "zeros", "rows", "expand", "split"):
    CASES[f"sizes before, {way}"] = lambda way=way: case(nets.SizesBefore(way), image(3, 2, 5, 5), "layer")
for way in ("second", "last", "folded"):
    for count in (1, 3, 4):
        CASES[f"images in another dimension, {way}, {count}"] = lambda way=way, count=count: case(
            nets.ImagesInOtherDimensions(way), image(count, 2, 6, 6), "layer around"
        )
for count in (1, 2, 3, 4):
    CASES[f"functional, {count} images"] = lambda count=count: case(nets.Functional(3), image(count, 2, 5, 5), "layer")
    CASES[f"not of images, {count} images"] = lambda count=count: case(
        nets.NotOfImages(3), image(count, 2, 7, 7), "layer"
    )
for ending in nets.ENDINGS:
    CASES[f"class scores, {ending}"] = lambda ending=ending: class_scores(ending)
CASES |= {
    "class scores, twice": lambda: class_scores("twice", "features drop"),
    "class scores, all places": lambda: replace(class_scores("all places"), target=[30, 2, 99]),
    "class scores, two by two": lambda: replace(class_scores("two by two"), target=[15, 2, 7]),
}
CASES |= {
    "class scores, 3 x 3": lambda: class_scores("relu, pool", kernel=3),
    "class scores, 3 x 3, no bias": lambda: class_scores("pool", kernel=3, bias=False),
    "class scores, 5 x 5, max": lambda: class_scores("max pool", kernel=5),
    "class scores, groups": lambda: class_scores("relu, pool", kernel=3, groups=2),
    "class scores, groups, a group each": lambda: class_scores("pool", groups=4),
    "class scores, as many as channels": lambda: class_scores("relu, pool", classes=8),
}
DENSE: dict[str, Callable[[], Case]] = {
    "class scores": lambda: case(
        nets.ClassScores("a map of scores", kernel=3),
        image(3, 2, 7, 7),
        "features scores",
        target=[(2, 1, 3), (0, 0, 0), (3, 4, 4)],
    ),
    "one place": lambda: replace(DENSE["class scores"](), target=[(2, 1, 3)] * 3),
    "linear": lambda: case(
        networks.Dense(), image(3, 2, 5, 5), "first second", target=[(2, 1, 3), (0, 0, 0), (1, 4, 4)]
    ),
}
