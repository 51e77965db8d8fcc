"""Receptive fields, against the pixels whose gradient is not 0 in a network of positive weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from captum_paramsal.graph import Network, receptive_field


def positive(model):
    """The model with weights and statistics that let every gradient through."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.rand(parameter.shape) + 0.1)
    return model.double().eval()


def seen_by_gradient(model, layer, images, place):
    """First and last index in each dimension of the input with a gradient, of all channels at a place."""
    outputs = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _, __, output: outputs.append(output))
    images = images.requires_grad_()
    model(images)
    handle.remove()
    total = 0
    for output in outputs:
        maps = output if isinstance(model.get_submodule(layer), nn.Linear) else output.movedim(1, -1)
        total = total + maps[0][tuple(place)].sum()
    (gradient,) = torch.autograd.grad(total, images)
    where = gradient.nonzero()
    return tuple(zip(where.min(dim=0).values.tolist(), where.max(dim=0).values.tolist(), strict=True))


class Residual(nn.Module):
    pool = staticmethod(F.avg_pool2d)

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.second = nn.Conv2d(3, 3, (1, 5), padding="same")
        self.last = nn.Conv2d(3, 2, 2, dilation=2)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        x = x + self.second(x)
        return self.last(self.pool(x, 2, ceil_mode=True)).flatten(1)


class Cut(nn.Module):
    """Channels that are cut, shuffled and put together, as in ShuffleNet; branches of other sizes, as in Inception."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 5, padding=2)
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        y = torch.cat([self.one(a), self.two(b)], dim=1)
        y = y.view(len(y), 2, 2, *y.shape[2:]).transpose(1, 2).reshape(y.shape)
        return self.last(F.avg_pool2d(y, 3, stride=2, padding=1))[:, :, 1:].mean(dim=(2, 3))


class ChannelsLast(nn.Module):
    """As in ConvNeXt."""

    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2d(4, 4, 7, padding=3, groups=4)
        self.norm, self.linear = nn.LayerNorm(4), nn.Linear(4, 6)

    def forward(self, x):
        y = self.depthwise(x).permute(0, 2, 3, 1)
        return self.linear(y).permute(0, 3, 1, 2).mean((2, 3))


class Tokens(nn.Module):
    """Patches with a class token in front of them."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 4, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.linear = nn.Linear(4, 5)

    def forward(self, x):
        y = self.patch(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(len(y), -1, -1), y], dim=1)
        return self.linear(y)[:, 0]


class Upwards(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(1, 2, 3, stride=3)
        self.up = nn.ConvTranspose2d(2, 2, 4, stride=3, padding=1, dilation=1)
        self.last = nn.Conv2d(2, 1, 2)

    def forward(self, x):
        return self.last(self.up(self.down(x))).flatten(1)


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=2, padding_mode="reflect")
        self.last = nn.Conv2d(2, 1, 3)

    def forward(self, x):
        return self.last(F.pad(F.adaptive_avg_pool2d(self.conv(x), (5, 4)), (1, 0, 2, 1))).flatten(1)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.conv(self.conv(x)).flatten(1)


CASES = {
    "residual": (Residual, (2, 21, 18), {"first": (4, 3), "second": (0, 2), "last": (1, 1)}),
    "cut": (Cut, (4, 11, 12), {"one": (2, 2), "two": (0, 11), "last": (2, 3)}),
    "channels last": (ChannelsLast, (4, 9, 9), {"depthwise": (1, 7), "linear": (4, 0)}),
    "tokens": (Tokens, (3, 12, 8), {"patch": (2, 1), "linear": (4,)}),
    "upwards": (Upwards, (1, 13, 14), {"up": (4, 6), "last": (0, 9)}),
    "padded": (Padded, (1, 12, 9), {"conv": (0, 0), "last": (3, 1)}),
    "twice": (Twice, (1, 9, 9), {"conv": (0, 4)}),
    "sequence": (
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.Conv1d(3, 2, 3, stride=2), nn.Flatten()),
        (2, 20),
        {"0": (5,), "1": (3,)},
    ),
    "volume": (
        lambda: nn.Sequential(nn.Conv3d(1, 2, 3), nn.AvgPool3d(2), nn.Conv3d(2, 1, 2), nn.Flatten()),
        (1, 8, 9, 10),
        {"0": (0, 1, 2), "2": (1, 1, 2)},
    ),
}


@pytest.mark.parametrize(("name", "layer"), [(name, layer) for name, case in CASES.items() for layer in case[2]])
def test_as_the_gradient_has_it(name, layer):
    build, shape, places = CASES[name]
    model = positive(build())
    images = torch.rand(1, *shape, dtype=torch.float64) + 0.1
    field = receptive_field(Network.of(model, images), layer, places[layer])
    expected = seen_by_gradient(model, layer, images, places[layer])
    whole = tuple((0, size - 1) for size in images.shape)
    assert (whole if field is None else field)[2:] == expected[2:]


def test_a_maximum_sees_what_an_average_does():
    fields = []
    for pool in (F.avg_pool2d, F.max_pool2d):
        model = Residual()
        model.pool = pool
        fields.append(receptive_field(Network.of(model.eval(), torch.rand(1, 2, 21, 18)), "last", (1, 1)))
    assert fields[0] == fields[1]


def test_the_class_token_sees_nothing_of_its_own():
    model = Tokens()
    assert receptive_field(Network.of(model, torch.rand(1, 3, 12, 8)), "linear", (0,)) is None


def test_a_gate_for_whole_maps_is_left_out():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.gate, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 1, 1)

        def forward(self, x):
            x = self.first(x)
            return self.last(x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()).flatten(1)

    network = Network.of(Gated(), torch.rand(1, 1, 9, 9))
    assert receptive_field(network, "last", (2, 3)) == ((0, 0), (0, 0), (2, 4), (3, 5))
    assert receptive_field(network, "gate", (0, 0)) == ((0, 0), (0, 0), (0, 8), (0, 8))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_resized_maps_hold_what_the_gradient_has(mode):
    class Resized(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Conv2d(1, 1, 3)

        def forward(self, x):
            return self.last(F.interpolate(x, size=(17, 9), mode=mode)).flatten(1)

    model, images = positive(Resized()), torch.rand(1, 1, 11, 12, dtype=torch.float64)
    field = receptive_field(Network.of(model, images), "last", (7, 3))
    for (low, high), (first, last) in zip(field, seen_by_gradient(model, "last", images, (7, 3)), strict=True):
        assert low <= first <= last <= high <= last + 4


def test_attention_sees_the_whole_input():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.mix = nn.Conv2d(3, 4, 4, stride=4), nn.MultiheadAttention(4, 2, batch_first=True)
            self.linear = nn.Linear(4, 5)

        def forward(self, x):
            y = self.patch(x).flatten(2).transpose(1, 2)
            return self.linear(y + self.mix(y, y, y)[0]).mean(dim=1)

    network = Network.of(Mixed().eval(), torch.rand(1, 3, 8, 8))
    assert receptive_field(network, "linear", (1,)) is None
    assert receptive_field(network, "mix", (1,)) == ((0, 0), (0, 2), (0, 3), (4, 7))


def test_a_place_that_there_is_not():
    network = Network.of(Twice(), torch.rand(1, 1, 9, 9))
    assert receptive_field(network, "conv", (9, 0)) is None
    assert receptive_field(network, "conv", (1,)) is None
    assert receptive_field(network, "none", (0, 0)) is None
