"""The loss is that of PyTorch, and its gradient keeps its digits where PyTorch's has lost them."""

from decimal import Decimal, localcontext

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, vmap
from torch.nn import functional

from captum_paramsal import ParameterSaliency
from captum_paramsal.functional import cross_entropy

LABELS = torch.tensor([0, 3, 1, 4, 2])


def scores(lead, dtype=torch.float64):
    """Of five images, whose labels lead by about so much."""
    values = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values[torch.arange(5), LABELS] += lead
    return values.float().to(dtype)


def in_digits(row, label, digits=60):
    """Loss and gradient of one image, with so many digits."""
    with localcontext() as context:
        context.prec = digits
        powers = [Decimal(float(value)).exp() for value in row]
        probabilities = [power / sum(powers) for power in powers]
        gradient = [p - (number == label) for number, p in enumerate(probabilities)]
        return float(-probabilities[label].ln()), [float(value) for value in gradient]


@pytest.mark.parametrize("lead", [-80.0, -3.0, 0.0, 3.0, 10.0, 17.0, 40.0, 80.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_against_sixty_digits(lead, dtype):
    z = scores(lead, dtype).requires_grad_()
    loss = cross_entropy(z, LABELS)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    # Sums of exponents of numbers up to 80 are known to 80 epsilon.
    close = 100 * torch.finfo(dtype).eps
    for n, (row, label) in enumerate(zip(z.tolist(), LABELS.tolist(), strict=True)):
        expected, slope = in_digits(row, label)
        assert loss[n].item() == pytest.approx(expected, rel=close)
        assert gradient[n].tolist() == pytest.approx(slope, rel=close)


def test_it_is_pytorchs_where_that_is_exact():
    z = scores(0.0)
    torch.testing.assert_close(cross_entropy(z, LABELS), functional.cross_entropy(z, LABELS, reduction="none"))


def test_derivatives_of_both_orders():
    z = scores(3.0).requires_grad_()
    assert gradcheck(lambda values: cross_entropy(values, LABELS), z)
    assert gradgradcheck(lambda values: cross_entropy(values, LABELS), z)


def test_image_by_image_under_vmap():
    z = scores(17.0, torch.float32)
    whole = z.clone().requires_grad_()
    (expected,) = torch.autograd.grad(cross_entropy(whole, LABELS).sum(), whole)
    one = grad(lambda row, label: cross_entropy(row[None], label[None])[0])
    torch.testing.assert_close(vmap(one)(z, LABELS), expected)


@pytest.mark.parametrize(
    ("row", "label"),
    [([2.0], 0), ([1.0, -torch.inf, -torch.inf], 0), ([1.0, -torch.inf, 2.0], 0), ([-torch.inf, 1.0, 2.0], 1)],
)
def test_classes_that_are_ruled_out(row, label):
    results = []
    for loss in (cross_entropy, lambda z, labels: functional.cross_entropy(z, labels, reduction="none")):
        z = torch.tensor([row], requires_grad=True)
        value = loss(z, torch.tensor([label]))
        results.append((value.detach(), torch.autograd.grad(value.sum(), z)[0]))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    z = scores(6.0, dtype).requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(z, LABELS).sum(), z)
    wide = z.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(cross_entropy(wide, LABELS).sum(), wide)
    assert gradient.dtype == dtype
    largest = expected.abs().amax(dim=1, keepdim=True)
    assert ((gradient - expected).abs() / largest).max() < 10 * torch.finfo(dtype).eps


@pytest.mark.parametrize("lead", [12.0, 25.0])
def test_profiles_of_images_that_are_almost_certain(lead):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()
    images, labels = torch.rand(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64)
    with torch.no_grad():
        model[4].bias[0] += lead
    scored = ParameterSaliency(model).attribute(images, target=labels)
    expected = ParameterSaliency(model.double()).attribute(images.double(), target=labels)
    assert ((scored - expected).abs().amax(dim=1) / expected.amax(dim=1)).max() < 1e-5
