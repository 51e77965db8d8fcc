"""What lies between two checkpoints, against autograd and plain loops in double precision."""

import math

import torch

from captum_paramsal.functional import excess_change, path_shares, statistics_gradients, statistics_shift

DOUBLE = {"dtype": torch.float64}


def test_gradients_of_statistics_are_those_of_autograd():
    torch.manual_seed(0)
    x = torch.randn(5, 3, 4, 4, **DOUBLE)
    weight, bias, mean = (torch.randn(3, **DOUBLE, requires_grad=True) for _ in range(3))
    var = (torch.rand(3, **DOUBLE) + 0.1).requires_grad_()
    scale, shift, centre = (part.view(1, -1, 1, 1) for part in (weight / (var + 1e-3).sqrt(), bias, mean))
    loss = ((x - centre) * scale + shift).tanh().pow(2).sum()
    of_weight, of_bias, *expected = torch.autograd.grad(loss, (weight, bias, mean, var))
    found = statistics_gradients(weight.detach(), var.detach(), 1e-3, of_weight, of_bias)
    torch.testing.assert_close(found, expected)


def test_shift_of_statistics_is_counted_in_standard_deviations():
    means, others = torch.tensor([[0.0, 2.0], [3.0, 2.0]], **DOUBLE)
    widths, other_widths = torch.tensor([[1.0, 2.0], [1.0, 4.0]], **DOUBLE)
    shift = statistics_shift((means, widths**2), (others, other_widths**2), 0.0)
    expected = math.sqrt((3.0**2 + math.log(2) ** 2) / 2)
    assert math.isclose(shift, expected)
    # What is measured on another scale has moved as far.
    scaled = statistics_shift((7 * means, 49 * widths**2), (7 * others, 49 * other_widths**2), 0.0)
    assert math.isclose(scaled, expected)


def test_excess_change_is_that_of_a_loop():
    torch.manual_seed(0)
    before, after = torch.randn(2, 7, 4, **DOUBLE)
    moved = sorted(math.dist(x, y) for x, y in zip(before.tolist(), after.tolist(), strict=True))
    length = sum(math.hypot(*row) for row in before.tolist()) / 7
    expected = [(math.dist(x, y) - moved[3]) / length for x, y in zip(before.tolist(), after.tolist(), strict=True)]
    torch.testing.assert_close(excess_change(before, after), torch.tensor(expected, **DOUBLE))
    assert not excess_change(torch.zeros(2, 3), torch.ones(2, 3)).any()


def test_shares_add_up_to_the_difference_exactly_for_polynomials():
    torch.manual_seed(0)
    start, change = torch.randn(2, 4, **DOUBLE)

    def value(point):
        return (point**4).sum() + point.prod()

    def gradients(place):
        point = (start + place * change).requires_grad_()
        return torch.autograd.grad(value(point), [point])

    (shares,) = path_shares(gradients, [change], steps=2)
    torch.testing.assert_close(shares.sum(), value(start + change) - value(start))
