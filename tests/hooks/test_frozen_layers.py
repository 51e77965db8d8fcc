"""Convolutions and batch norms with fixed weights: the library's results, and its first and second derivatives."""

import pytest
import torch
from torch.nn import functional

from captum_paramsal.hooks import FrozenLayers

WEIGHT = torch.rand(6, generator=torch.Generator().manual_seed(1), dtype=torch.double)
STATISTICS = (WEIGHT - 0.5, WEIGHT + 0.1)

FUNCTIONS = {
    "batch norm": lambda x: functional.batch_norm(x, *STATISTICS, WEIGHT - 0.4, WEIGHT, eps=1e-3),
    "without weights": lambda x: functional.batch_norm(x, *STATISTICS),
    "of vectors": lambda x: functional.batch_norm(x.flatten(2).mean(dim=2), *STATISTICS, WEIGHT),
    "of sequences": lambda x: functional.batch_norm(x.flatten(2), *STATISTICS, WEIGHT, training=False),
    "of the batch": lambda x: functional.batch_norm(x, None, None, WEIGHT, training=True),
    "convolution": lambda x: functional.conv2d(x, WEIGHT[:, None, None, None].expand(6, 3, 3, 2), None, 2, 1, 1, 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_the_librarys(name):
    x = torch.randn(4, 6, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.double, requires_grad=True)

    def derivatives():
        result = FUNCTIONS[name](x)
        (first,) = torch.autograd.grad(result.square().sum(), x, create_graph=True)
        return result, first, *torch.autograd.grad(first.sin().sum(), x)

    expected = derivatives()
    with FrozenLayers():
        got = derivatives()
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_a_batch_norm_whose_weight_has_a_gradient_is_the_librarys():
    x, weight = torch.randn(4, 6, 5, 5, dtype=torch.double, requires_grad=True), WEIGHT.clone().requires_grad_()
    with FrozenLayers():
        result = functional.batch_norm(x, *STATISTICS, weight)
    (gradient,) = torch.autograd.grad(result.sum(), weight)
    assert (gradient != 0).all()


def test_of_another_type_than_its_statistics_is_the_librarys():
    x = torch.randn(4, 6, 5, 5).bfloat16().requires_grad_()
    statistics = [one.float() for one in STATISTICS]
    with FrozenLayers():
        result = functional.batch_norm(x, *statistics, WEIGHT.float(), WEIGHT.float())
    assert result.dtype == torch.autograd.grad(result.sum(), x)[0].dtype == torch.bfloat16
