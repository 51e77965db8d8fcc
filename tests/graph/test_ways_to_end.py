"""What may lie between a convolution and the scores: channels that are the classes, and pools that are used twice."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from captum_paramsal import ModelDoctor, ParameterSaliency

CLASSES = {
    "enlarged": lambda z: functional.interpolate(z, scale_factor=2),
    "one place": lambda z: functional.adaptive_avg_pool2d(z, 1)[:, :, 0, 0],
    "largest place": lambda z: z.flatten(2).max(-1).values,
    "largest five": lambda z: z.flatten(2).topk(5).values.mean(-1),
    "in order": lambda z: z.flatten(2).sort(-1).values[..., -3:].mean(-1),
    "median": lambda z: z.flatten(2).median(-1).values,
    "two ways, stacked": lambda z: torch.stack([z.mean((2, 3)), z.amax((2, 3))]).mean(0),
    "two ways, the larger": lambda z: torch.maximum(z.mean((2, 3)), z.amax((2, 3))),
    "some classes": lambda z: z.mean((2, 3))[:, [2, 0, 3]],
    "clamped": lambda z: z.mean((2, 3)).clamp(-50, 50),
    "softplus": lambda z: functional.softplus(z).mean((2, 3)),
}


class Ends(nn.Module):
    def __init__(self, end, *after):
        super().__init__()
        self.body, self.last, self.end = (
            nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
            nn.Conv2d(8, 4, 1),
            end,
        )
        self.after = nn.Sequential(*after)

    def forward(self, x):
        return self.after(self.end(self.last(self.body(x))))


@pytest.mark.parametrize("end", CLASSES)
def test_class_scores_are_no_filters(end):
    assert "last" not in ParameterSaliency(Ends(CLASSES[end]).eval()).filters.layers


@pytest.mark.parametrize("end", [name for name in CLASSES if name not in {"enlarged", "some classes"}])
def test_before_a_linear_layer_they_are(end):
    assert "last" in ParameterSaliency(Ends(CLASSES[end], nn.Linear(4, 4)).eval()).filters.layers


class Twice(nn.Module):
    """A convolutional network whose pool, norm and activation are one module each."""

    def __init__(self, pool):
        super().__init__()
        self.conv1, self.conv2, self.pool = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 6, 5), pool
        self.relu, self.norm, self.head = nn.ReLU(), nn.BatchNorm2d(6), nn.Linear(150, 10)

    def forward(self, x):
        x = self.pool(self.relu(self.norm(self.conv1(x))))
        x = self.pool(self.relu(self.norm(self.conv2(x))))
        return self.head(torch.flatten(x, 1))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.LPPool2d(2, 2)], ids=["max", "mean", "power"])
def test_modules_used_twice_are_passed_on_the_way_to_the_last_maps(pool):
    assert ModelDoctor(Twice(pool).eval()).layer_name == "conv2"
