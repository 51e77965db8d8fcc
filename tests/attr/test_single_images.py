"""Images as people hold them whose meaning is not certain: each is refused with what to do."""

import pytest
import torch
from torch import nn

from captum_paramsal import CNNFixations, InputError, ModelDoctor, ModelError, ParameterSaliency


class Squeezed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.pool, self.head = nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.pool(self.conv(x).relu()).squeeze())


def test_a_squeeze_without_a_dimension_is_named():
    with pytest.raises(ModelError, match=r"of a single image too.*`squeeze\(\)` without a dimension"):
        ParameterSaliency(Squeezed().eval()).attribute(torch.rand(4, 3, 9, 9), target=0)


IMAGE = torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", [ParameterSaliency, ModelDoctor])
@pytest.mark.parametrize(
    ("images", "remedy"),
    [
        (IMAGE[:1], r"`image\[None\]`"),
        ((255 * IMAGE[None]).byte(), r"\(uint8\) are scaled first"),
        ([IMAGE, IMAGE], r"`torch.stack\(images\)`"),
    ],
    ids=["single", "whole numbers", "list"],
)
def test_the_remedy_is_named(method, images, remedy):
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).eval()
    with pytest.raises(InputError, match=remedy):
        method(model).attribute(images, target=0)


def test_traces_name_the_shape_they_want():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).eval()
    with pytest.raises(InputError, match=r"images \(N, C, H, W\), .* got \(9, 9\)"):
        CNNFixations(model).attribute(IMAGE[0], target=0)
