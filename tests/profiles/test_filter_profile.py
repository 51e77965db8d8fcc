import pytest
import torch
from torch import nn

from captum_paramsal import InputError, ParameterSaliency


class FirstTwo(nn.Module):
    """Forgets every example after the second."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(2, 3, 3)

    def forward(self, x):
        return self.layer(x[:2]).tanh().mean(dim=(2, 3))


def test_a_model_that_drops_examples_is_refused():
    saliency = ParameterSaliency(FirstTwo(), layers="layer")
    with pytest.raises(InputError, match="one row per example"):
        saliency.attribute(torch.rand(3, 2, 6, 6), target=0)


def test_large_feature_maps_are_cut_into_equal_parts(monkeypatch):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3))
    sizes = []
    model.register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))
    saliency, images = ParameterSaliency(model), torch.rand(7, 1, 6, 6)
    whole = saliency.attribute(images, target=1)
    # A map of 2 x 4 x 4 float32 numbers takes 128 bytes: three examples fit, so seven go in parts of three, three, one.
    monkeypatch.setattr("captum_paramsal.profiles.layer_plans.REUSED_BYTES", 3 * 128)
    sizes.clear()
    torch.testing.assert_close(saliency.attribute(images, target=1), whole)
    assert sizes == [3, 3, 1]
    sizes.clear()
    saliency.attribute(images, target=1, internal_batch_size=5)
    assert sizes == [5, 2]
