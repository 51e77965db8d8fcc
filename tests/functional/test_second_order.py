"""Mean absolute weight gradients with a derivative: against autograd through the gradient of each example."""

import pytest
import torch
from torch.nn import functional

from captum_paramsal.functional import second_order
from captum_paramsal.functional.convolution import ConvolutionGeometry
from captum_paramsal.functional.second_order import (
    differentiable_convolution_mean_abs,
    differentiable_product_mean_abs,
)

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
CASES = {
    "many places": ((8, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1, (12, 12)),
    "few places": ((8, 4, 3, 3), (2, 2), (1, 1), (1, 1), 1, (6, 6)),
    "four places": ((8, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1, (2, 2)),
    "four places, a stride": ((8, 4, 3, 3), (2, 2), (1, 1), (1, 1), 1, (4, 4)),
    "three places, a large kernel": ((8, 4, 5, 5), (2, 2), (2, 1), (1, 1), 1, (2, 7)),
    "taps that see padding alone": ((8, 4, 5, 5), (1, 1), (2, 2), (1, 1), 1, (2, 1)),
    "one place": ((8, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1, (1, 1)),
    "depthwise": ((8, 1, 3, 3), (2, 2), (1, 1), (1, 1), 4, (12, 13)),
    "groups": ((8, 2, 3, 2), (1, 2), (1, 0), (2, 1), 2, (12, 13)),
    "pointwise": ((6, 4, 1, 1), (1, 1), (0, 0), (1, 1), 1, (12, 9)),
    "pointwise, a stride": ((6, 4, 1, 1), (2, 1), (0, 0), (1, 1), 1, (9, 9)),
    "sequence": ((6, 4, 3), (2,), (1,), (1,), 1, (40,)),
    "volume": ((6, 2, 3, 3, 3), (2, 1, 1), (1, 1, 1), (1, 1, 1), 2, (5, 5, 4)),
}


def given(shape, stride, padding, dilation, groups, size):  # noqa: PLR0917 -- a case
    """Maps and gradients with exact zeros, as a ReLU leaves them: there the absolute value has the derivative 0."""
    torch.manual_seed(0)
    inputs = torch.randn(5, 4, *size, dtype=torch.double).relu_()
    weight = torch.randn(shape, dtype=torch.double)
    output = CONVOLUTIONS[len(size)](inputs, weight, None, stride, padding, dilation, groups)
    gradients = torch.randn_like(output) * (torch.rand_like(output) > 0.5)
    gradients[0, 0] = 0
    inputs[0, 1] = 0
    geometry = ConvolutionGeometry(shape, stride, padding, dilation, groups)
    return inputs.requires_grad_(), gradients.requires_grad_(), geometry


def literal(inputs, output_gradients, geometry):
    moves = (geometry.stride, geometry.padding, geometry.dilation, geometry.groups)
    rows = []
    for maps, arriving in zip(inputs, output_gradients, strict=True):
        weight = torch.zeros(geometry.weight_shape, dtype=maps.dtype, requires_grad=True)
        output = CONVOLUTIONS[len(geometry.kernel)](maps[None], weight, None, *moves)
        (gradient,) = torch.autograd.grad(output, weight, arriving[None], create_graph=True)
        rows.append(gradient.flatten(1).abs().mean(dim=1))
    return torch.stack(rows)


def assert_same(got, expected, *variables):
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    scales = torch.randn_like(got)
    pairs = zip(*(torch.autograd.grad((means * scales).sum(), variables) for means in (got, expected)), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("numbers", [None, 1, 700])
@pytest.mark.parametrize("case", CASES)
def test_convolutions(monkeypatch, case, numbers):
    if numbers is not None:
        monkeypatch.setattr(second_order, "FORMED_NUMBERS", numbers)
        monkeypatch.setattr(second_order, "_EXAMPLE_NUMBERS", numbers)
        monkeypatch.setattr(second_order, "_ROWS", 3)
    inputs, gradients, geometry = given(*CASES[case])
    got = differentiable_convolution_mean_abs(inputs, gradients, geometry)
    assert_same(got, literal(inputs, gradients, geometry), inputs, gradients)


@pytest.mark.parametrize("positions", [1, 2, 49, 64, 100])
def test_products(positions):
    torch.manual_seed(0)
    outputs, columns = (torch.randn(3, rows, positions, dtype=torch.double, requires_grad=True) for rows in (7, 5))
    literally = torch.einsum("bop,bmp->bom", outputs, columns).abs().mean(dim=2)
    assert_same(differentiable_product_mean_abs(outputs, columns), literally, outputs, columns)


@pytest.mark.parametrize("positions", [2, 64])
def test_half_precision_is_summed_in_float32(positions):
    outputs, columns = (torch.randn(2, rows, positions).bfloat16().requires_grad_() for rows in (4, 3000))
    means = differentiable_product_mean_abs(outputs, columns)
    assert means.dtype == torch.float32
    assert [one.dtype for one in torch.autograd.grad(means.sum(), (outputs, columns))] == [torch.bfloat16] * 2
