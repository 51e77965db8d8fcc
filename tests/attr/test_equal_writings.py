"""One network written in two ways has one trace: maps of one and three dimensions, resizing, gates, products."""

from __future__ import annotations

from functools import partial
from math import log

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from captum_paramsal import CNNFixations, DiscernibleNeurons, TraceWeights

METHODS = {
    "three of each": lambda model: DiscernibleNeurons(
        model, TraceWeights(0.7, 0.3, 2.0), top_k=3, linear_top_k=3, places=5
    ),
    "fixations": CNNFixations,
}


class Between(nn.Module):
    """A convolution, what is written in two ways, a convolution again, a pool over the whole map and a head."""

    def __init__(self, between, *, channels=6, grown=6):
        super().__init__()
        self.stem, self.after = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(grown, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)
        self.between = between

    def forward(self, x):
        x = self.between(functional.relu(self.stem(x)) - 0.3)
        return self.head(functional.relu(self.after(x)).mean((2, 3)))


class Function(nn.Module):
    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x):
        return self.function(x, *self.layers)


def flat(function, *layers):
    """On each row of the map as a signal of its own: ``(N H, C, W)``."""

    def run(x, *layers):
        images, _, height, _ = x.shape
        rows = function(x.transpose(1, 2).flatten(0, 1), *layers)
        return rows.unflatten(0, (images, height)).transpose(1, 2)

    return Function(run, *layers)


def deep(function, *layers):
    """On the channels in twos as a volume: ``(N, C / 2, 2, H, W)``."""
    return Function(lambda x, *layers: function(x.unflatten(1, (-1, 2)), *layers).flatten(1, 2), *layers)


def wide(layer, flat_layer):
    """The weights of a layer over signals in one over maps."""
    with torch.no_grad():
        layer.weight.copy_(flat_layer.weight[:, :, None])
        layer.bias.copy_(flat_layer.bias)
    return layer


def apart(x, layer):
    """A convolution of volumes with one place in depth, as one of maps for each place."""
    x = x.unflatten(1, (-1, 2))
    return torch.stack([functional.conv2d(x[:, :, d], layer.weight[:, :, 0], layer.bias, padding=1) for d in (0, 1)], 2)


def shuffled(layer):
    """A transposed convolution whose kernel is its stride, as a 1x1 convolution and a pixel shuffle."""
    same = nn.Conv2d(6, 24, 1)
    with torch.no_grad():
        same.weight.copy_(layer.weight.permute(1, 2, 3, 0).reshape(24, 6, 1, 1))
        same.bias.copy_(layer.bias.repeat_interleave(4))
    return nn.Sequential(same, nn.PixelShuffle(2))


def nearest(x, height, width):
    """By rows and columns, as the documentation of ``interpolate`` has it."""
    rows, columns = torch.arange(height) * x.shape[2] // height, torch.arange(width) * x.shape[3] // width
    return x.index_select(2, rows).index_select(3, columns)


def transposed_pair():
    layer = nn.ConvTranspose2d(6, 6, 2, 2)
    return layer, shuffled(layer)


def signal_pair():
    layer = nn.Conv1d(6, 6, 3, stride=2, padding=1)
    return flat(lambda x, layer: layer(x), layer), wide(nn.Conv2d(6, 6, (1, 3), (1, 2), (0, 1)), layer)


def transposed_signal_pair():
    layer = nn.ConvTranspose1d(6, 6, 3, stride=2, padding=1)
    return flat(lambda x, layer: layer(x), layer), wide(nn.ConvTranspose2d(6, 6, (1, 3), (1, 2), (0, 1)), layer)


def volume_pair():
    layer = nn.Conv3d(3, 3, (1, 3, 3), padding=(0, 1, 1))
    return deep(lambda x, layer: layer(x), layer), Function(lambda x, layer: apart(x, layer).flatten(1, 2), layer)


def parameter_pair():
    power = nn.Parameter(torch.tensor(3.0))
    layer = nn.Module()
    layer.power = power
    return (
        Function(lambda x, layer: x.clamp(min=1e-3).pow(layer.power), layer),
        Function(lambda x: x.clamp(min=1e-3).pow(3)),
    )


def linear_pair():
    layer, tokens = nn.Conv2d(6, 6, 1), nn.Linear(6, 6)
    with torch.no_grad():
        layer.weight.copy_(tokens.weight[:, :, None, None])
        layer.bias.copy_(tokens.bias)
    return Function(lambda x, tokens: tokens(x.movedim(1, -1)).movedim(-1, 1), tokens), layer


def gelu(x):
    return x * (0.5 * (1 + torch.erf(x * 0.5**0.5)))


def same(first, second):
    return lambda: (Function(first), Function(second))


PAIRS = {
    "convolution of signals": signal_pair,
    "transposed convolution of signals": transposed_signal_pair,
    "convolution of volumes": volume_pair,
    "transposed convolution, 1x1 and shuffle": transposed_pair,
    "pool of signals, maximum": lambda: (
        flat(lambda x: functional.max_pool1d(x, 3, 2, 1)), nn.MaxPool2d((1, 3), (1, 2), (0, 1)),
    ),
    "pool of signals, average": lambda: (flat(lambda x: functional.avg_pool1d(x, 2)), nn.AvgPool2d((1, 2))),
    "pool of signals, adaptive": lambda: (
        flat(lambda x: functional.adaptive_avg_pool1d(x, 3)), nn.AdaptiveAvgPool2d((None, 3)),
    ),
    "pool of volumes, maximum": lambda: (deep(lambda x: functional.max_pool3d(x, (1, 2, 2))), nn.MaxPool2d(2)),
    "pool of volumes, average": lambda: (
        deep(lambda x: functional.avg_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))), nn.AvgPool2d(3, 2, 1),
    ),
    "pool of volumes, adaptive": lambda: (
        deep(lambda x: functional.adaptive_max_pool3d(x, (None, 3, 3))), nn.AdaptiveMaxPool2d(3),
    ),
    "twice the size": lambda: (
        nn.Upsample(scale_factor=2), Function(lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    ),
    "another size": same(partial(functional.interpolate, size=(11, 13)), partial(nearest, height=11, width=13)),
    "half the size": same(partial(functional.interpolate, scale_factor=0.5), lambda x: x[:, :, ::2, ::2]),
    "addcmul": same(lambda x: torch.addcmul(x, x.sigmoid(), x, value=0.5), lambda x: x + x.sigmoid() * x * 0.5),
    "addcmul of a method": same(lambda x: x.clone().addcmul_(x.sigmoid(), x), lambda x: x + x * x.sigmoid()),
    "square": same(torch.square, lambda x: x * x),
    "power": same(lambda x: x**2, torch.square),
    "power of a parameter": parameter_pair,
    "power of a number": same(lambda x: torch.pow(x, 2.0), lambda x: x * x),
    "SiLU": same(functional.silu, lambda x: x * x.sigmoid()),
    "SiLU, gate first": same(functional.silu, lambda x: torch.sigmoid(x) * x),
    "hard swish": same(functional.hardswish, lambda x: x * functional.hardsigmoid(x)),
    "Mish": same(functional.mish, lambda x: x * functional.softplus(x).tanh()),
    "GELU": same(functional.gelu, gelu),
    "difference": same(lambda x: x - 0.5 * x.flip(3), lambda x: x + -(x.flip(3) * 0.5)),
    "difference, scaled": same(
        lambda x: torch.sub(x, x.flip(3), alpha=0.5), lambda x: torch.add(x, x.flip(3), alpha=-0.5)
    ),
    "gated linear unit": lambda: (
        Function(lambda x: functional.glu(torch.cat([x, x.flip(1)], 1), 1)),
        Function(lambda x: x * x.flip(1).sigmoid()),
    ),
    "larger of two": same(lambda x: torch.maximum(x, x.flip(3)), lambda x: torch.max(x, other=x.flip(3))),
    "quotient": same(lambda x: x / 4, lambda x: x * 0.25),
    "linear at places": linear_pair,
    "power of two": same(lambda x: 2**x, lambda x: torch.exp(x * log(2))),
    "power of a map": same(lambda x: x.exp() ** x.sigmoid(), lambda x: torch.pow(x.exp(), x.sigmoid())),
    "power in place": same(lambda x: x.clone().pow_(2), lambda x: x * x),
}  # fmt: skip


def neurons(layer):
    parts = zip(*(getattr(layer, part).tolist() for part in ("image", "channel", "y", "x")), strict=True)
    supports = torch.stack([layer.score, layer.current, layer.preceding, layer.succeeding], 1).tolist()
    return dict(zip(parts, supports, strict=True))


@pytest.mark.parametrize(
    ("pair", "method"),
    [
        # The methods in turn; each pair of writings with each where slow tests run.
        pytest.param(pair, method, marks=[pytest.mark.slow] * ((number + place) % 2))
        for number, pair in enumerate(PAIRS)
        for place, method in enumerate(METHODS)
    ],
)
def test_two_writings(pair, method):
    torch.manual_seed(3)
    one, other = PAIRS[pair]()
    first = Between(one)
    second = Between(other)
    second.load_state_dict({k: v for k, v in first.state_dict().items() if not k.startswith("between")}, strict=False)
    images = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    traces = []
    for model in (first, second):
        model.double().eval().requires_grad_(False)
        traces.append(METHODS[method](model).trace(images, target=[0, 1, 2]))
    torch.testing.assert_close(first(images), second(images), rtol=1e-9, atol=1e-9)
    for layer in ("head", "after", "stem", "input"):
        got, wanted = (neurons(trace.layers[layer]) for trace in traces)
        assert sorted(got) == sorted(wanted), layer
        for place, supports in wanted.items():
            np.testing.assert_allclose(got[place], supports, rtol=1e-9, atol=1e-10, err_msg=f"{layer}: {place}")
    assert len(traces[0].layers["stem"]) > 1
