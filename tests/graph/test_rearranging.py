"""Where moved values came from is found out once for each operation of a trace, of a concatenation by sizes alone."""

import pytest
import torch
from cases.images import image
from hypothesis import given, strategies as st
from oracles.weights import seeded
from torch import nn

from captum_paramsal import DiscernibleNeurons
from captum_paramsal.graph import traced_run
from captum_paramsal.graph.registry import support, trace_rule_of
from captum_paramsal.graph.rules import rearranging
from captum_paramsal.graph.rules.concatenation import Concatenation
from captum_paramsal.graph.step import Step


class Joined(nn.Module):
    """Two branches that are put side by side, several times."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.pairs = nn.ModuleList(nn.ModuleList([nn.Conv2d(c, 4, 1), nn.Conv2d(c, 4, 1)]) for c in (4, *[8] * 6))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x).relu()
        for pair in self.pairs:
            x = torch.stack([conv(x).relu() for conv in pair], dim=2).flatten(1, 2)
        return self.head(x.mean((2, 3)))


def test_each_operation_is_run_on_numbers_once(monkeypatch):
    nodes = []
    found = rearranging._Numbering._found

    def noted(self, *args, **kwargs):
        nodes.append(self.step.node)
        return found(self, *args, **kwargs)

    monkeypatch.setattr(rearranging._Numbering, "_found", noted)
    images = image(4, 3, 8, 8)
    DiscernibleNeurons(seeded(Joined().double(), images)).trace(images, torch.tensor([0, 1, 2, 0]))
    assert len(nodes) == len(set(nodes)) == 2 * 7


class Called(nn.Module):
    """A function as a model."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


@pytest.mark.parametrize("value", [1e9, 1e13, torch.finfo(torch.float32).max, float("inf")])
@pytest.mark.parametrize("images", [1, 3])
def test_a_constant_of_any_size_is_no_neuron(value, images):
    model = Called(lambda x: x.masked_fill(x < 0.5, value))
    run = traced_run(model, [image(images, 2, 3, 3)])
    node = next(node for node in run.graph.nodes if "masked_fill" in str(node.target))
    step = Step(run, node, DiscernibleNeurons(model).settings, support)
    every = torch.arange(run.output.numel())
    source, index = rearranging.Rearranged().came_from(step, node.all_input_nodes[:1], every)
    filled = run.output.flatten() == value
    assert 0 < filled.sum() < len(filled)
    assert torch.equal(source == -1, filled)
    assert torch.equal(index[~filled], every[~filled])


def both_ways(function, *inputs):
    """Of every neuron of a concatenation, its input and index: by sizes, and by running it on numbers."""
    run = traced_run(Called(function), inputs)
    node = next(node for node in run.graph.nodes if isinstance(trace_rule_of(node, run.model), Concatenation))
    step = Step(run, node, DiscernibleNeurons(run.model).settings, support)
    moved = [one for one in node.all_input_nodes if step.is_computed(one)]
    index = torch.arange(run.output.numel())
    by_sizes = Concatenation().came_from(step, moved, index)
    by_numbers = rearranging.Rearranged().came_from(step, moved, index)
    return by_sizes, by_numbers


def assert_alike(by_sizes, by_numbers):
    (source, index), (expected, place) = by_sizes, by_numbers
    assert torch.equal(source, expected)
    assert torch.equal(index[source >= 0], place[expected >= 0])


@given(data=st.data())
def test_sizes_tell_what_numbers_tell(data):
    dimensions = data.draw(st.integers(1, 4))
    dimension = data.draw(st.integers(-dimensions, dimensions - 1))
    common = data.draw(st.lists(st.integers(1, 3), min_size=dimensions, max_size=dimensions))
    sizes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4).filter(any))
    shapes = [[*common[: dimension % dimensions], size, *common[dimension % dimensions + 1 :]] for size in sizes]
    parts = [torch.rand(shape) for shape in shapes]
    assert_alike(*both_ways(lambda *given_: torch.cat(given_, dim=dimension), *parts))


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (lambda x, y: torch.cat([x, y, x], 1), [(2, 3, 2), (2, 1, 2)]),
        (lambda x: torch.cat([torch.ones(2, 1, 2), x, torch.zeros(2, 2, 2)], 1), [(2, 3, 2)]),
        (lambda x: torch.cat([torch.ones(0), x, torch.ones(0)], 1), [(2, 3, 2)]),
        (lambda x, y: torch.concat(tensors=(x, y), axis=2), [(2, 3, 2), (2, 3, 4)]),
        (lambda x, y: torch.concatenate((x, y)), [(2, 3), (4, 3)]),
        (lambda x: torch.cat(x.chunk(3, dim=1)[::-1], dim=1), [(4, 6, 2)]),
        (lambda x: torch.cat([x, x.flip(1)], dim=-1), [(3, 4)]),
    ],
    ids=["one part twice", "constants", "empty vectors", "named", "images", "pieces", "with another of its own"],
)
def test_parts_of_every_kind(function, inputs):
    assert_alike(*both_ways(function, *(torch.rand(shape) for shape in inputs)))


class PartAveraged(nn.Module):
    """The average of whole maps of a part, which is an average of what was parted."""

    def __init__(self, part):
        super().__init__()
        self.first, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.part = part

    def forward(self, x):
        return self.head(nn.functional.avg_pool2d(self.norm(self.part(self.first(x).relu())), 2).mean((2, 3)))


@pytest.mark.parametrize(
    "part",
    [
        lambda x: x.chunk(2, 1)[1],
        lambda x: x.split([4, 4], 1)[1],
        lambda x: x.unflatten(1, (2, 4)).unbind(1)[1],
        lambda x: x.tensor_split(2, 1)[1],
    ],
)
def test_an_average_of_a_part_is_one_of_what_was_parted(part):
    images, targets = image(4, 3, 10, 10), torch.tensor([0, 1, 2, 0])
    expected = seeded(PartAveraged(lambda x: x[:, 4:]).double(), images)
    found = PartAveraged(part).double().eval()
    found.load_state_dict(expected.state_dict())
    traces = [DiscernibleNeurons(model).trace(images, targets).layers for model in (expected, found)]
    assert traces[0].keys() == traces[1].keys()
    for name, neurons in traces[0].items():
        for field in ("image", "channel", "y", "x", "current"):
            torch.testing.assert_close(getattr(traces[1][name], field), getattr(neurons, field))
