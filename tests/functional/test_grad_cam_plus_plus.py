"""Grad-CAM++ against its equations, place by place, and by its laws."""

import torch
from torch import nn

from captum_paramsal.comparison import preset
from captum_paramsal.functional import grad_cam_plus_plus


def literal(gradients, maps):
    channels, height, width = maps.shape
    result = torch.zeros(height, width, dtype=maps.dtype)
    for k in range(channels):
        total = sum(float(maps[k, a, b]) for a in range(height) for b in range(width))
        weight = 0.0
        for i in range(height):
            for j in range(width):
                g = float(gradients[k, i, j])
                if g > 0:
                    weight += g**2 / (2 * g**2 + g**3 * total) * g
        result += weight * maps[k]
    return result.clamp(min=0)


def test_equations_place_by_place():
    draw = torch.Generator().manual_seed(0)
    gradients = torch.randn(3, 4, 5, 2, generator=draw, dtype=torch.float64)
    maps = torch.rand(3, 4, 5, 2, generator=draw, dtype=torch.float64)
    expected = torch.stack([literal(g, m) for g, m in zip(gradients, maps, strict=True)])[:, None]
    torch.testing.assert_close(grad_cam_plus_plus(gradients, maps), expected, rtol=1e-12, atol=0)


def test_gradients_that_are_tiny_keep_their_order():
    gradients, maps = torch.full((1, 1, 1, 2), 1e-30), torch.tensor([[[[1.0, 2.0]]]])
    torch.testing.assert_close(grad_cam_plus_plus(gradients, maps)[0, 0, 0], torch.tensor([1e-30, 2e-30]))


def test_no_gradient_and_no_map_give_zeros():
    assert not grad_cam_plus_plus(torch.zeros(1, 2, 3, 3), torch.rand(1, 2, 3, 3)).any()
    assert not grad_cam_plus_plus(torch.rand(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)).any()


def test_by_name_it_is_that_of_the_last_feature_maps():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(20, 3),
        ).double()
        images = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    maps = model[:5](images).detach().requires_grad_()
    scores = model[5:](maps)
    (gradients,) = torch.autograd.grad(scores[0, 1] + scores[1, 2], maps)
    expected = nn.functional.interpolate(
        grad_cam_plus_plus(gradients, maps.detach()), (8, 8), mode="bilinear", align_corners=False
    )
    found = preset("grad_cam_plus_plus", model)(images, target=torch.tensor([1, 2]))
    torch.testing.assert_close(found, expected)
