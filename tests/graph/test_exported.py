"""Programs that `torch.export` made are traced as the models they were made of."""

import operator

import pytest
import torch
from torch import nn
from torch.nn import functional

from captum_paramsal import CNNFixations, DiscernibleNeurons
from captum_paramsal.graph.exported import as_called

ATEN = torch.ops.aten


class Several(nn.Module):
    """Operations whose arguments stand in another order, or that have no function of the same name."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.batch, self.group = nn.BatchNorm2d(8), nn.GroupNorm(2, 8)
        self.tokens, self.layer = nn.Linear(8, 8), nn.LayerNorm(8)
        self.gate, self.head = nn.Hardswish(inplace=True), nn.Linear(8, 5)

    def forward(self, x):
        x = nn.functional.silu(self.batch(self.a(x)), inplace=True)
        x = x + self.gate(self.group(self.b(x)))
        x = functional.max_pool2d(functional.pad(x, (1, 0, 1, 0)), 2)
        first, second = x.chunk(2, dim=1)
        x = torch.cat([second, first], dim=1)[:, :, 1:, ::2]
        x = self.layer(self.tokens(x.flatten(2).transpose(1, 2)))
        return self.head(functional.gelu(x).mean(dim=1))


@pytest.mark.parametrize("method", [CNNFixations, DiscernibleNeurons])
def test_traces_are_those_of_the_model(method):
    torch.manual_seed(0)
    model, inputs = Several().eval(), torch.rand(3, 3, 12, 12)
    program = torch.export.export(model, (inputs,)).module()
    trace, twin = method(program).trace(inputs), method(model).trace(inputs)
    assert len(twin.pixels)
    assert torch.equal(trace.pixels.place, twin.pixels.place)
    torch.testing.assert_close(trace.pixels.score, twin.pixels.score)
    assert list(trace.layers) == list(twin.layers)


@pytest.mark.parametrize(
    ("operation", "args", "expected"),
    [
        (ATEN.slice.Tensor, (torch.arange(6).view(2, 3), 1, 1), [[1, 2], [4, 5]]),
        (ATEN.slice.Tensor, (torch.arange(6).view(2, 3), -2, 1), [[3, 4, 5]]),
        (ATEN.slice.Tensor, (torch.arange(6).view(2, 3), -1, 0, 3, 2), [[0, 2], [3, 5]]),
        (ATEN.relu.default, (torch.tensor([-1, 2]),), [0, 2]),
        (ATEN.select.int, (torch.arange(6).view(2, 3), 1, 2), [2, 5]),
    ],
)
def test_what_is_called_instead_returns_the_same(operation, args, expected):
    function, given, named = as_called(operation, args, {})
    assert function is not operation
    assert function(*given, **named).tolist() == operation(*args).tolist() == expected


def test_what_is_no_operation_stays():
    assert as_called(operator.add, (1, 2), {}) == (operator.add, (1, 2), {})
    unknown = torch.ops.aten.batch_norm.default
    assert as_called(unknown, (1, 2), {"training": False})[0] is unknown
