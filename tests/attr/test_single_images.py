import pytest
import torch
from torch import nn

from captum_paramsal import ModelError, ParameterSaliency


class Squeezed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.pool, self.head = nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.pool(self.conv(x).relu()).squeeze())


def test_a_squeeze_without_a_dimension_is_named():
    with pytest.raises(ModelError, match=r"of a single image too.*`squeeze\(\)` without a dimension"):
        ParameterSaliency(Squeezed().eval()).attribute(torch.rand(4, 3, 9, 9), target=0)
