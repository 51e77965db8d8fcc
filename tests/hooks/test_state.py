"""What the model is while it is scored, and that it is afterwards what it was."""

import pytest
import torch
from torch import nn

from captum_paramsal import LayerError, ParameterSaliency


class Remembering(nn.Module):
    """Fills a buffer that is None at first."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)
        self.register_buffer("seen", None)

    def forward(self, x):
        self.seen = torch.ones(1)
        return self.head(self.conv(x).mean((2, 3)))


def test_a_buffer_that_was_none_is_none_again():
    model = Remembering()
    ParameterSaliency(model).attribute(torch.randn(2, 3, 8, 8), target=0)
    assert model.seen is None
    assert "seen" not in model.state_dict()


def test_a_lazy_model_is_refused():
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(5))
    with pytest.raises(LayerError, match=r"'0.weight' is lazy.*run the model once first"):
        ParameterSaliency(model)
