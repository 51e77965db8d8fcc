"""Small classifiers drawn at random, with what real ones have and stumble over."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

CHANNELS = 4
CLASSES = 3


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + x


class Twice(nn.Module):
    """One layer, called twice."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.tanh(self.layer(x)))


class Tokens(nn.Module):
    """Attention over the places of a map."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(CHANNELS, 2, batch_first=batch_first)
        self.batch_first = batch_first

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).permute(0, 2, 1) if self.batch_first else x.flatten(2).permute(2, 0, 1)
        mixed = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return (mixed.permute(0, 2, 1) if self.batch_first else mixed.permute(1, 2, 0)).reshape(x.shape)


class Writes(nn.Module):
    """Keeps a running mean in a buffer, and the last map in an attribute."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.last = how, None
        self.register_buffer("mean", torch.zeros(CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        now = x.detach().mean((0, 2, 3))
        if self.how == "data":
            self.mean.data.mul_(0.9).add_(now)
        elif self.how == "new":
            self.mean = 0.9 * self.mean + now
        else:
            self.mean.mul_(0.9).add_(now)
        self.last = now
        return x * 1.0


def _convolution(draw: random.Random) -> nn.Module:
    padding = draw.choice(["same", 1, 0])
    mode = draw.choice(["zeros", "reflect", "circular"]) if padding else "zeros"
    return nn.Conv2d(
        CHANNELS,
        CHANNELS,
        3,
        padding=padding,
        padding_mode=mode,
        groups=draw.choice([1, 2, CHANNELS]),
        bias=draw.random() < 0.5,
    )


def _norm(draw: random.Random) -> nn.Module:
    return draw.choice([
        lambda: nn.BatchNorm2d(CHANNELS),
        lambda: nn.BatchNorm2d(CHANNELS, affine=False),
        lambda: nn.BatchNorm2d(CHANNELS, track_running_stats=False),
        lambda: nn.GroupNorm(2, CHANNELS),
        lambda: nn.InstanceNorm2d(CHANNELS, affine=True),
    ])()  # fmt: skip


def _activation(draw: random.Random) -> nn.Module:
    inplace = draw.random() < 0.5
    return draw.choice([
        lambda: nn.ReLU(inplace=inplace), nn.GELU, lambda: nn.SiLU(inplace=inplace),
        lambda: nn.Hardswish(inplace=inplace), lambda: nn.Dropout(0.5), lambda: nn.LeakyReLU(0.1, inplace=inplace),
    ])()  # fmt: skip


BLOCKS: list[Callable[[random.Random], nn.Module]] = [
    _convolution,
    _norm,
    _activation,
    lambda draw: Residual(nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), _activation(draw))),
    lambda _: Twice(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)),
    lambda draw: Tokens(batch_first=draw.random() < 0.5),
    lambda draw: Writes(draw.choice(["in place", "data", "new"])),
    lambda draw: draw.choice([parametrizations.spectral_norm, parametrizations.weight_norm])(
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
    ),
]


def random_model(seed: int) -> nn.Module:
    """A classifier of 3 x 12 x 12 images: modes, frozen weights, gradients and hooks of its owner at random."""
    draw = random.Random(seed)  # noqa: S311 -- no secret
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, CHANNELS, 3, padding=1)]
    layers += [draw.choice(BLOCKS)(draw) for _ in range(draw.randint(1, 5))]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, CLASSES))
    for module in model.modules():
        module.training = draw.random() < 0.5
    for parameter in model.parameters():
        parameter.requires_grad_(draw.random() < 0.8)
        if parameter.requires_grad and draw.random() < 0.2:
            parameter.grad = torch.ones_like(parameter)
    for module in model.modules():
        if draw.random() < 0.2:
            module.register_forward_hook(lambda *_: None)
        if draw.random() < 0.1:
            module.register_forward_pre_hook(lambda *_: None)
    return model
