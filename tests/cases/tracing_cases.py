"""Small CNNs for tracing, each as a module and as the slow twin's plain list of operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from cases.plain_models import Plain, plain_of
from cases.tracing_networks import (
    DenseLayer,
    Functions,
    Mean,
    Residual,
    ShuffleUnit,
    Squeeze,
    basic_block,
    conv,
    conv_bn,
    fire,
    gap,
    inception,
    inverted_residual,
)
from oracles.weights import seeded
from torch import Tensor, nn
from torch.nn import functional as F


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
