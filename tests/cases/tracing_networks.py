"""What CNNs are made of, each block as a module that also tells its plain operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from cases.plain_models import Composite, Plain, plain_layer, plain_of
from oracles import plain_network as plain
from torch import Tensor, nn
from torch.nn import functional as F


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
