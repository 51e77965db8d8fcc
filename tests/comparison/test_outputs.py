"""Captum's presets on models that return more than class scores."""

from __future__ import annotations

import pytest
import torch
from cases.ways_to_run import images, small
from torch import nn

import captum_paramsal as cp

WITHOUT_LAYERS = ("saliency", "integrated_gradients", "deep_lift", "occlusion", "input_space_saliency")


class Several(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.net = small()
        self.name = name

    def forward(self, x):
        return {self.name: self.net(x), "features": x}


@pytest.mark.parametrize("name", ["logits", "scores"])
def test_presets_take_class_scores_alone(name):
    methods, options = list(WITHOUT_LAYERS), {"metrics": ["sparsity"], "show_progress": False}
    labels = torch.tensor([0, 1, 2, 3])
    many = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    reference = cp.Reference.fit(small(), [(many, torch.arange(20) % 5)], show_progress=False)
    plain = cp.compare(
        methods, small(), images(), labels, metrics=["sparsity"], reference=reference, show_progress=False
    )
    output = None if name == "logits" else lambda returned: returned["scores"]
    inside = cp.Reference.fit(Several(name), [(many, torch.arange(20) % 5)], output=output, show_progress=False)
    given = cp.compare(methods, Several(name), images(), labels, reference=inside, output=output, **options)
    assert given.failures == ()
    assert plain.failures == ()
    for maps, expected in zip(given.maps, plain.maps, strict=True):
        torch.testing.assert_close(maps, expected)
