"""Small CNNs for tracing, each as a module and as the slow twin's plain list of operations; and two trained ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from exactness.real_models import BasicBlock, ResNet20
from oracles import plain_network as plain
from oracles.weights import seeded
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.squeezenet import Fire, SqueezeNet

Plain = list[plain.Operation]


class Composite(nn.Module):
    """A module that also tells what it computes as plain operations; ``name`` is its own, with a dot behind."""

    def plain(self, name: str) -> Plain:
        raise NotImplementedError


class Residual(Composite):
    """``body(x) + shortcut(x)``, or the difference."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, *, sign: int = 1) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut or nn.Identity()
        self.sign = sign

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x) if self.sign > 0 else self.body(x) - self.shortcut(x)

    def plain(self, name: str) -> Plain:
        sides = plain_of(self.body, f"{name}body"), plain_of(self.shortcut, f"{name}shortcut")
        return [plain.Add(*sides, sign=self.sign)]


class InPlaceResidual(Residual):
    """The same, written over the body's output by methods and functions."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        y += self.shortcut(x)
        return F.relu(y, inplace=True)

    def plain(self, name: str) -> Plain:
        return [*super().plain(name), plain.Pointwise(function=torch.relu)]


class Branches(Composite):
    """Inception: the channels of each branch side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branch = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branch], dim=1)

    def plain(self, name: str) -> Plain:
        return [plain.Cat([plain_of(branch, f"{name}branch.{n}") for n, branch in enumerate(self.branch)])]


class Squeeze(Composite):
    """Squeeze-and-excitation: every channel times what a small network makes of all channels' means."""

    def __init__(self, channels: int, *, gate_first: bool = False) -> None:
        super().__init__()
        self.gate_first = gate_first
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 2, 1), nn.ReLU(), nn.Conv2d(2, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x) * x if self.gate_first else x * self.gate(x)

    def plain(self, name: str) -> Plain:
        return [plain.Gate([], plain_of(self.gate, f"{name}gate"))]


class DenseLayer(Composite):
    """Batch norm and activation before the convolution, and the input's channels kept beside its output."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.new = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(inplace=False), nn.Conv2d(inputs, growth, 3, padding=1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], 1)

    def plain(self, name: str) -> Plain:
        return [plain.Cat([[], plain_of(self.new, f"{name}new")])]


class ShuffleUnit(Composite):
    """ShuffleNet: half of the channels pass, the others are worked on; then the two are interleaved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.half = half
        self.body = nn.Sequential(*conv_bn(half, half, 1), nn.Conv2d(half, half, 3, padding=1, groups=half))

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, dim=1)
        x = torch.cat((kept, self.body(changed)), dim=1)
        count, channels, height, width = x.shape
        x = x.view(count, 2, channels // 2, height, width)
        return torch.transpose(x, 1, 2).contiguous().view(count, channels, height, width)

    def plain(self, name: str) -> Plain:
        first, second = range(self.half), range(self.half, 2 * self.half)
        body = [plain.Channels(second), *plain_of(self.body, f"{name}body")]
        interleaved = [n for pair in zip(first, second, strict=True) for n in pair]
        return [plain.Cat([[plain.Channels(first)], body]), plain.Channels(interleaved)]


class Functions(Composite):
    """Functions, methods and operators where other networks have modules; one ReLU for all, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.third = nn.Conv2d(6, 6, 3)
        self.hidden = nn.Linear(12, 9)
        self.head = nn.Linear(9, 4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.relu(self.first(x)), 2)
        y = torch.add(self.norm(self.second(x)), x).relu_()
        y = torch.sub(y, x * x.mean((2, 3), keepdim=True).sigmoid())
        y = self.relu(self.third(y))
        small = F.adaptive_avg_pool2d(F.avg_pool2d(y, 3, 2), (1, 1))
        large = F.adaptive_max_pool2d(y, 1)
        vector = torch.flatten(F.dropout(torch.cat((small, large), 1), training=self.training), 1)
        vector = torch.relu(self.hidden(vector.view(vector.size(0), -1)))
        return self.head(vector)

    def plain(self, name: str) -> Plain:
        relu = plain.Pointwise(function=torch.relu)
        norm = [plain_layer(self.second, f"{name}second"), plain_layer(self.norm, f"{name}norm")]
        gate = [plain.AdaptiveAveragePool(), plain.Pointwise(function=torch.sigmoid)]
        # The sum and the difference share a source: the outer one holds the inner one.
        changed = [plain.Add([plain.Add(norm, []), relu], [plain.Gate([], gate)], sign=-1)]
        pools = [[plain.AveragePool((3, 3), (2, 2)), plain.AdaptiveAveragePool()], [plain.MaxPool((6, 6), (6, 6))]]
        return [
            plain_layer(self.first, f"{name}first"), relu, plain.MaxPool((2, 2), (2, 2)), *changed,
            plain_layer(self.third, f"{name}third"), relu, plain.Cat(pools), plain.Flatten(),
            plain_layer(self.hidden, f"{name}hidden"), relu, plain_layer(self.head, f"{name}head"),
        ]  # fmt: skip


class Mean(Composite):
    """The mean over all places, as a method of tensors."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))

    def plain(self, name: str) -> Plain:  # noqa: ARG002
        return [plain.AdaptiveAveragePool(size=(1, 1))]


def plain_of(module: nn.Module, name: str) -> Plain:
    """A module's plain operations, named as the module's layers are."""
    prefix = f"{name}." if name else ""
    if isinstance(module, Composite):
        return module.plain(prefix)
    if type(module) in COMPOSITES:
        return COMPOSITES[type(module)](module, prefix)
    if isinstance(module, nn.Sequential):
        return [operation for key, child in module.named_children() for operation in plain_of(child, prefix + key)]
    return [plain_layer(module, name)]


def plain_layer(module: Any, name: str) -> plain.Operation:  # noqa: PLR0911
    """One leaf module."""
    match module:
        case nn.Linear():
            weight = module.weight.detach().numpy()
            return plain.Linear(weight, bias_of(module), name=name)
        case nn.Conv2d():
            return plain_convolution(module, name)
        case nn.BatchNorm2d() | nn.BatchNorm1d():
            arrays = (module.running_mean, module.running_var, module.weight, module.bias)
            return plain.BatchNorm(*(a.detach().numpy() for a in arrays), eps=module.eps, name=name)
        case nn.MaxPool2d():
            window = (pair(module.kernel_size), pair(module.stride), pair(module.padding), pair(module.dilation))
            return plain.MaxPool(*window, ceil_mode=module.ceil_mode, name=name)
        case nn.AvgPool2d():
            window = (pair(module.kernel_size), pair(module.stride), pair(module.padding))
            return plain.AveragePool(*window, module.ceil_mode, module.count_include_pad, name=name)
        case nn.AdaptiveAvgPool2d():
            return plain.AdaptiveAveragePool(pair(module.output_size), name=name)
        case nn.Flatten():
            return plain.Flatten(name=name)
        case nn.Dropout() | nn.Identity():
            return plain.Pointwise(name=name)
    function = ACTIVATIONS[type(module)]
    return plain.Pointwise(function=function, name=name)


ACTIVATIONS = {
    nn.ReLU: torch.relu, nn.Hardswish: F.hardswish, nn.SiLU: F.silu, nn.Sigmoid: torch.sigmoid, nn.ELU: F.elu,
}  # fmt: skip


def plain_convolution(module: nn.Conv2d, name: str) -> plain.Convolution:
    """``padding="same"`` puts the odd row below and the odd column on the right."""
    if module.padding == "same":
        reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        around = tuple((r // 2, r - r // 2) for r in reach)
    else:
        around = tuple((p, p) for p in ((0, 0) if module.padding == "valid" else module.padding))
    mode = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}[module.padding_mode]
    weight, bias = module.weight.detach().numpy(), bias_of(module)
    return plain.Convolution(weight, bias, module.stride, around, module.dilation, module.groups, mode, name=name)


def bias_of(module: Any) -> np.ndarray:
    return np.zeros(len(module.weight)) if module.bias is None else module.bias.detach().numpy()


def pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def plain_fire(fire: Fire, name: str) -> Plain:
    expands = [
        [plain_layer(fire.expand1x1, f"{name}expand1x1"), plain_layer(nn.ReLU(), f"{name}expand1x1_activation")],
        [plain_layer(fire.expand3x3, f"{name}expand3x3"), plain_layer(nn.ReLU(), f"{name}expand3x3_activation")],
    ]
    squeeze = [plain_layer(fire.squeeze, f"{name}squeeze"), plain_layer(nn.ReLU(), f"{name}squeeze_activation")]
    return [*squeeze, plain.Cat(expands)]


def plain_squeezenet(model: SqueezeNet, name: str) -> Plain:
    return [
        *plain_of(model.features, f"{name}features"),
        *plain_of(model.classifier, f"{name}classifier"),
        plain.Flatten(),
    ]


def plain_basic_block(block: BasicBlock, name: str) -> Plain:
    shortcut: Plain = []
    if block.stride > 1:
        shortcut = [plain.EverySecond(), plain.MoreChannels(block.extra, block.extra)]
    body = [
        plain_layer(block.conv1, f"{name}conv1"),
        plain_layer(block.bn1, f"{name}bn1"),
        plain.Pointwise(function=torch.relu),
        plain_layer(block.conv2, f"{name}conv2"),
        plain_layer(block.bn2, f"{name}bn2"),
    ]
    return [plain.Add(body, shortcut), plain.Pointwise(function=torch.relu)]


def plain_resnet20(model: ResNet20, name: str) -> Plain:
    stem = [
        plain_layer(model.conv1, f"{name}conv1"),
        plain_layer(model.bn1, f"{name}bn1"),
        plain.Pointwise(function=torch.relu),
    ]
    stages = [
        plain_of(stage, f"{name}layer{n}") for n, stage in enumerate((model.layer1, model.layer2, model.layer3), 1)
    ]
    head = [plain.AdaptiveAveragePool(size=(1, 1)), plain_layer(model.linear, f"{name}linear")]
    return [*stem, *(operation for stage in stages for operation in stage), *head]


COMPOSITES: dict[type, Callable[[Any, str], Plain]] = {
    Fire: plain_fire,
    SqueezeNet: plain_squeezenet,
    BasicBlock: plain_basic_block,
    ResNet20: plain_resnet20,
}


@dataclass(frozen=True, eq=False)
class TracingCase:
    """A float64 model in evaluation mode, its plain description, and images ``(N, C, H, W)``."""

    model: nn.Module
    network: Plain
    images: Tensor


def noise(*shape: int, seed: int) -> Tensor:
    """Smooth in places, as photos are, and of both signs."""
    fine = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()
    return fine + F.avg_pool2d(fine, 3, 1, 1) * 2


def case(*layers: nn.Module, channels: int = 3, size: tuple[int, int] = (16, 16), count: int = 3) -> TracingCase:
    """Random weights; half the batch norms' factors are negative."""
    images = noise(count, channels, *size, seed=sum(size) + channels)
    model = nn.Sequential(*layers).double()
    seeded(model, noise(4, channels, *size, seed=99), seed=len(layers))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.weight[1::2] *= -1
    model.requires_grad_(False)
    return TracingCase(model, plain_of(model, ""), images)


def conv(inputs: int, outputs: int, kernel: Any = 3, **arguments: Any) -> Sequence[nn.Module]:
    """A convolution and its activation."""
    return nn.Conv2d(inputs, outputs, kernel, **arguments), nn.ReLU(inplace=True)


def conv_bn(inputs: int, outputs: int, kernel: Any = 3, **arguments: Any) -> Sequence[nn.Module]:
    """A convolution without bias, batch norm, an activation."""
    return nn.Conv2d(inputs, outputs, kernel, bias=False, **arguments), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def gap(channels: int, classes: int = 4) -> Sequence[nn.Module]:
    """Global average pool and a classifier."""
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)


def basic_block(inputs: int, outputs: int, stride: int, *, in_place: bool = False) -> nn.Module:
    body = nn.Sequential(
        *conv_bn(inputs, outputs, stride=stride, padding=1),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
    )
    projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return (InPlaceResidual if in_place else Residual)(body, None if stride == 1 else projection)


def fire(inputs: int, squeezed: int, expanded: int) -> Sequence[nn.Module]:
    sides = [nn.Sequential(*conv(squeezed, expanded, k, padding=k // 2)) for k in (1, 3)]
    return *conv(inputs, squeezed, 1), Branches(*sides)


def inverted_residual(channels: int, wide: int) -> nn.Module:
    """MobileNet v3: wide, depthwise, gated, narrow again."""
    return Residual(
        nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.Hardswish(),
            nn.Conv2d(wide, wide, 5, padding=2, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.Hardswish(),
            Squeeze(wide),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
    )


def inception(inputs: int) -> nn.Module:
    return Branches(
        nn.Sequential(*conv_bn(inputs, 3, 1)),
        nn.Sequential(
            *conv_bn(inputs, 2, 1), *conv_bn(2, 4, (1, 5), padding=(0, 2)), *conv_bn(4, 4, (5, 1), padding=(2, 0))
        ),
        nn.Sequential(nn.MaxPool2d(3, 1, 1), *conv_bn(inputs, 2, 1)),
        nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), *conv_bn(inputs, 2, 1)),
    )


def vgg(dropout: float = 0.5) -> TracingCase:
    channels = [3, 6, 8, 8]
    layers = [layer for a, b in pairwise(channels) for layer in (*conv(a, b, padding=1), nn.MaxPool2d(2, 2))]
    head = [nn.Flatten(), nn.Linear(32, 12), nn.ReLU(True), nn.Dropout(dropout), nn.Linear(12, 10), nn.ReLU(True)]
    return case(*layers, *head, nn.Linear(10, 4))


def dense(depth: int) -> TracingCase:
    """DenseNet: two blocks with a transition of 1x1 convolution and average pool between."""
    block = [DenseLayer(6 + 4 * n, 4) for n in range(depth)]
    wide = 6 + 4 * depth
    transition = [nn.BatchNorm2d(wide), nn.ReLU(), nn.Conv2d(wide, 6, 1, bias=False), nn.AvgPool2d(2, 2)]
    again = [DenseLayer(6 + 4 * n, 4) for n in range(depth)]
    stem = [*conv_bn(3, 6, stride=2, padding=1), nn.MaxPool2d(3, 2, 1)]
    return case(*stem, *block, *transition, *again, nn.BatchNorm2d(wide), nn.ReLU(), *gap(wide), size=(20, 24))


TRACING_CASES: dict[str, Callable[[], TracingCase]] = {
    name: cache(make)
    for name, make in {
        "flatten and linear layers": vgg,
        "global pool": lambda: case(*conv(3, 6), *conv(6, 8), nn.MaxPool2d(2), *conv(8, 10, padding=1), *gap(10)),
        "all convolutions": lambda: case(
            *conv(3, 6, stride=2), *fire(6, 4, 5), nn.Dropout(), *conv(10, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        ),
        "strides": lambda: case(
            *conv(3, 6, 5, stride=(2, 3)), *conv(6, 8, (3, 2), stride=(1, 2)), *gap(8), size=(19, 23)
        ),
        "same padding": lambda: case(
            *conv(3, 6, (4, 2), padding="same"), *conv(6, 6, (3, 4), padding="same", dilation=(2, 3)), *gap(6)
        ),
        "valid padding": lambda: case(*conv(3, 6, 4, padding="valid"), *conv(6, 6, 3, padding="valid"), *gap(6)),
        "wide padding": lambda: case(*conv(3, 6, 3, padding=(4, 3)), *conv(6, 6, (1, 2), padding=(2, 1)), *gap(6)),
        "padding modes": lambda: case(
            *conv(3, 6, padding=1, padding_mode="circular"),
            *conv(6, 6, padding=2, padding_mode="reflect"),
            *conv(6, 6, padding="same", padding_mode="replicate"),
            *gap(6),
            size=(9, 9),
        ),
        "dilation": lambda: case(
            *conv(3, 6, dilation=2), *conv(6, 6, dilation=(3, 1), padding=(3, 0)), *gap(6), size=(18, 14)
        ),
        "groups": lambda: case(
            *conv(3, 6), *conv(6, 9, groups=3), *conv(9, 6, 1, groups=3), *conv(6, 8, groups=2, stride=2), *gap(8)
        ),
        "depthwise": lambda: case(
            *conv(3, 6), *conv(6, 12, groups=6, padding=1), *conv(12, 6, 1), *conv(6, 6, groups=6), *gap(6)
        ),
        "batch norm": lambda: case(*conv_bn(3, 8), *conv_bn(8, 8, padding=1), *conv_bn(8, 10, stride=2), *gap(10)),
        "batch norm of vectors": lambda: case(
            *conv_bn(3, 6), nn.MaxPool2d(4), nn.Flatten(), nn.BatchNorm1d(54), nn.Linear(54, 9), nn.BatchNorm1d(9),
            nn.ReLU(), nn.Linear(9, 4),
        ),
        "batch norm behind pools": lambda: case(
            *conv(3, 6), nn.MaxPool2d(2), nn.BatchNorm2d(6), nn.ReLU(), *conv(6, 6), nn.AvgPool2d(2), nn.BatchNorm2d(6),
            nn.ReLU(), *conv(6, 8, 1), *gap(8),
        ),
        "residual": lambda: case(
            *conv_bn(3, 6, padding=1), basic_block(6, 6, 1), nn.ReLU(), basic_block(6, 8, 2), nn.ReLU(), *gap(8)
        ),
        "residual in place": lambda: case(
            *conv_bn(3, 6, padding=1), nn.MaxPool2d(3, 2, 1), basic_block(6, 6, 1, in_place=True),
            basic_block(6, 6, 1, in_place=True), basic_block(6, 8, 2, in_place=True), Mean(), nn.Linear(8, 4),
        ),
        "difference": lambda: case(
            *conv_bn(3, 6, padding=1), Residual(nn.Sequential(*conv(6, 6, padding=1)), nn.Conv2d(6, 6, 1), sign=-1),
            *conv_bn(6, 8), *gap(8),
        ),
        "fire modules": lambda: case(
            *conv(3, 6, stride=2), nn.MaxPool2d(3, 2, ceil_mode=True), *fire(6, 4, 5), *fire(10, 4, 6),
            nn.MaxPool2d(3, 2, ceil_mode=True), *fire(12, 6, 6), *gap(12), size=(31, 28),
        ),
        "inception": lambda: case(*conv_bn(3, 6), inception(6), inception(11), *gap(11)),
        "gates": lambda: case(
            *conv_bn(3, 6), Squeeze(6), *conv_bn(6, 6, padding=1), Squeeze(6, gate_first=True), *gap(6)
        ),
        "inverted residuals": lambda: case(
            *conv_bn(3, 6, stride=2), inverted_residual(6, 8), inverted_residual(6, 10), nn.Hardswish(), *gap(6)
        ),
        "dense": lambda: dense(3),
        "max pools": lambda: case(
            *conv(3, 6), nn.MaxPool2d(3, 1, 1), *conv(6, 6), nn.MaxPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True),
            *conv(6, 6), nn.MaxPool2d(2, 2, dilation=2), *gap(6), size=(17, 15),
        ),
        "max pools over values of both signs": lambda: case(
            nn.Conv2d(3, 6, 3), nn.MaxPool2d(3, 2, 1), nn.BatchNorm2d(6), nn.ELU(), nn.Conv2d(6, 6, 3), nn.MaxPool2d(2),
            nn.SiLU(), *gap(6), size=(20, 20),
        ),
        "average pools": lambda: case(
            *conv(3, 6), nn.AvgPool2d(3, 2, 1), *conv(6, 6), nn.AvgPool2d(2, 1, ceil_mode=True),
            *conv(6, 6, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False), *gap(6), size=(18, 20),
        ),
        "average pools that hang over": lambda: case(
            *conv(3, 6), nn.AvgPool2d((3, 2), (2, 3), (1, 1), ceil_mode=True), *conv(6, 6, 1),
            nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), *conv(6, 6, 1), *gap(6), size=(18, 21),
        ),
        "adaptive pools": lambda: case(
            *conv(3, 6), nn.AdaptiveAvgPool2d((6, 5)), *conv(6, 6, 1), nn.AdaptiveAvgPool2d((7, 5)), nn.Flatten(),
            nn.Linear(210, 4), size=(15, 15),
        ),
        "shuffled channels": lambda: case(*conv_bn(3, 8, padding=1), ShuffleUnit(8), ShuffleUnit(8), *gap(8)),
        "functions": lambda: case(Functions()),
        "pool with a single window": lambda: case(
            *conv(3, 6, stride=2), nn.AvgPool2d(7), nn.Flatten(), nn.Linear(6, 4), size=(17, 16)
        ),
    }.items()
}  # fmt: skip


def random_case(seed: int, *, integers: bool = False) -> TracingCase:
    """Any sequence of a few blocks on an image of any size.

    Args:
        seed: Of everything.
        integers: Weights and pixels are small integers, so that sums are exact in any order and many are equal.
    """
    generator = np.random.default_rng(seed)
    draw = lambda low, high: int(generator.integers(low, high + 1))  # noqa: E731
    size, channels = (draw(9, 20), draw(9, 20)), draw(1, 4)
    layers = list(conv(channels, 4, draw(1, 3), padding=draw(0, 2)))
    for _ in range(draw(2, 5)):
        layers += random_block(draw, smooth=not integers)
    ending = draw(0, 2)
    if ending == 0:
        layers += gap(4)
    elif ending == 1:
        layers += [nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(16, 7), nn.ReLU(), nn.Linear(7, 4)]
    else:
        layers += [nn.Conv2d(4, 4, 1), nn.ReLU(), Mean()]
    found = case(*layers, channels=channels, size=size, count=2)
    if not integers:
        return found
    with torch.no_grad():
        for parameter in found.model.parameters():
            values = generator.integers(-2, 3, size=tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(values))
        for module in found.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.zero_()
                module.running_var.fill_(1.0)
                module.eps = 0.0
    return TracingCase(found.model, plain_of(found.model, ""), found.images.round())


def random_block(draw: Callable[[int, int], int], *, smooth: bool) -> Sequence[nn.Module]:
    """Of four channels and any map, to four channels."""
    dilation, kernel = draw(1, 2), (draw(1, 3), draw(1, 3))
    geometry = {"stride": (draw(1, 2), draw(1, 2)), "padding": (draw(1, 2), draw(1, 2))}
    wide = {"padding": 2, "dilation": 2} if dilation == 2 else {"padding": 1}
    window = 2 if not smooth else draw(2, 3)
    blocks: list[Callable[[], Sequence[nn.Module]]] = [
        lambda: conv(4, 4, kernel, **geometry, groups=2 ** draw(0, 2)),
        lambda: conv_bn(4, 4, 3, **wide),
        lambda: [nn.MaxPool2d(3, draw(1, 2), 1, ceil_mode=bool(draw(0, 1)))],
        lambda: [nn.AvgPool2d(window, draw(1, 2), draw(0, 1), bool(draw(0, 1)), bool(draw(0, 1)))],
        lambda: [basic_block(4, 4, draw(1, 2)), nn.ReLU()],
        lambda: [basic_block(4, 4, draw(1, 2), in_place=True)],
        lambda: fire(4, 3, 2),
        lambda: [DenseLayer(4, 3), *conv_bn(7, 4, 1)],
        lambda: [Residual(nn.Sequential(*conv(4, 4, padding=1)), sign=-1)],
        lambda: [nn.BatchNorm2d(4), nn.ReLU()],
        lambda: [ShuffleUnit(4)],
    ]
    if smooth:
        blocks += [lambda: [Squeeze(4)], lambda: [inverted_residual(4, 6)]]
    return blocks[draw(0, len(blocks) - 1)]()
