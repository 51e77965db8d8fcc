"""Values that are written over through views are followed as if they had been put together anew."""

import warnings

import pytest
import torch
from torch import nn

from captum_paramsal import CNNFixations, DiscernibleNeurons, ModelDoctor
from captum_paramsal.graph.written_over import written_through


def _assigned(y, x):
    y[:, :2] = x[:, 2:] * 3
    return y


def _added(y, x):
    y[:, :2] += x[:, 2:] * 3
    return y


def _added_to_a_view(y, x):
    y[:, :2].add_(x[:, 2:] * 3)
    return y


def _added_to_a_narrow_view(y, x):
    y.narrow(1, 0, 2).add_(x[:, 2:] * 3)
    return y


def _added_to_turned_values(y, x):
    y.permute(0, 2, 3, 1)[..., :2] += 3 * x[:, 2:].permute(0, 2, 3, 1)
    return y


def _copied(y, x):
    y[:, :2].copy_(x[:, 2:] * 3)
    return y


def _into_given_memory(y, x):
    torch.mul(x[:, 2:], 3.0, out=y[:, :2])
    return y


def _zeroed(y, _):
    y[:, :2].zero_()
    return y


def _filled(y, _):
    y[:, :2] = 5.0
    return y


def _masked(y, x):
    y[:, :2].masked_fill_(x[:, 2:] > 0.5, 5.0)
    return y


def _seen_through_an_older_view(y, _):
    half = y[:, :2]
    y.mul_(-1.0)
    return torch.cat([half, y[:, 2:]], dim=1)


def _written_twice(y, x):
    half = y[:, :2]
    y[:, 1:].mul_(2.0)
    half[:, :1].add_(x[:, :1])
    return y


def _split(y, _):
    y[:, :2], y[:, 2:] = y[:, :2] * 3, y[:, 2:]
    return y


WAYS = [
    (_assigned, lambda y, x: torch.cat([x[:, 2:] * 3, y[:, 2:]], dim=1)),
    (_added, lambda y, x: torch.cat([y[:, :2] + x[:, 2:] * 3, y[:, 2:]], dim=1)),
    (_added_to_a_view, lambda y, x: torch.cat([y[:, :2] + x[:, 2:] * 3, y[:, 2:]], dim=1)),
    (_added_to_a_narrow_view, lambda y, x: torch.cat([y[:, :2] + x[:, 2:] * 3, y[:, 2:]], dim=1)),
    (_added_to_turned_values, lambda y, x: torch.cat([y[:, :2] + x[:, 2:] * 3, y[:, 2:]], dim=1)),
    (_copied, lambda y, x: torch.cat([x[:, 2:] * 3, y[:, 2:]], dim=1)),
    (_into_given_memory, lambda y, x: torch.cat([x[:, 2:] * 3, y[:, 2:]], dim=1)),
    (_zeroed, lambda y, _: torch.cat([torch.zeros(len(y), 2, 8, 8), y[:, 2:]], dim=1)),
    (_filled, lambda y, _: torch.cat([torch.full((len(y), 2, 8, 8), 5.0), y[:, 2:]], dim=1)),
    (_masked, lambda y, x: torch.cat([torch.where(x[:, 2:] > 0.5, 5.0, y[:, :2]), y[:, 2:]], dim=1)),
    (_seen_through_an_older_view, lambda y, _: torch.cat([-y[:, :2], -y[:, 2:]], dim=1)),
    (_written_twice, lambda y, x: torch.cat([y[:, :1] + x[:, :1], y[:, 1:] * 2], dim=1)),
    (_split, lambda y, _: torch.cat([y[:, :2] * 3, y[:, 2:]], dim=1)),
]


class Net(nn.Module):
    def __init__(self, way):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.f = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)
        self.way = way

    def forward(self, x):
        x = self.a(x).relu()
        return self.f(self.way(self.b(x), x).relu().mean((2, 3)))


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(("way", "anew"), WAYS, ids=[way.__name__ for way, _ in WAYS])
@pytest.mark.parametrize("method", [CNNFixations, DiscernibleNeurons])
def test_traces(way, anew, method, images):
    inputs = torch.rand(images, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    trace, twin = (method(Net(one).eval()).trace(inputs) for one in (way, anew))
    for name in ("b", "a", "input"):
        for field in ("image", "channel", "y", "x", "score"):
            assert torch.equal(getattr(trace.layers[name], field), getattr(twin.layers[name], field)), (name, field)


@pytest.mark.parametrize(("way", "anew"), WAYS, ids=[way.__name__ for way, _ in WAYS])
def test_copies_of_a_layer(way, anew):
    inputs = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        # What cannot be run on from the layer alone is run whole, and says so.
        warnings.simplefilter("ignore")
        maps, twin = (ModelDoctor(Net(one).eval(), layer="a").attribute(inputs) for one in (way, anew))
    torch.testing.assert_close(maps, twin)


def test_gradients_reach_what_is_left_and_what_was_written():
    value, part = torch.rand(2, 3, requires_grad=True), torch.rand(2, requires_grad=True)
    written_through(value, part, ((3, 1), 0), ((3,), 1)).sum().backward()
    assert value.grad.tolist() == [[1, 0, 1], [1, 0, 1]]
    assert part.grad.tolist() == [1, 1]
