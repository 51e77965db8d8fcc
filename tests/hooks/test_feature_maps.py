import pytest
import torch
from torch import nn

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks import feature_maps


def network(*, inplace=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(inplace=inplace), nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(8, 4)
    )


def gradient(model, layer, images):
    with feature_maps(model, layer) as maps:
        scores = model(images)
        return maps.latest, torch.autograd.grad(scores[:, 1].sum(), maps.latest, create_graph=True)[0]


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.fixture
def images():
    return torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def test_an_in_place_relu_behind_the_layer_does_not_disturb_it(images):
    (maps, gradients), (plain_maps, plain_gradients) = (
        gradient(network(inplace=inplace), "0", images) for inplace in (True, False)
    )
    assert maps.min() < 0
    assert torch.equal(maps, plain_maps)
    assert torch.equal(gradients, plain_gradients)
    assert torch.equal(gradients == 0, (maps <= 0) | (gradients == 0))


def test_the_model_answers_as_without_and_nothing_is_left(images):
    model = network()
    expected = model(images)
    with feature_maps(model, model[0]) as maps:
        assert maps.name == "0"
        assert torch.equal(model(images), expected)
        assert torch.equal(model(images[:2]), expected[:2])
        assert len(maps.latest) == 2
    assert hooks(model) == 0


def test_layers_of_a_wrapped_model(images):
    model = network()
    with feature_maps(nn.DataParallel(model), "0") as maps:
        model(images)
        assert maps.latest.shape == (5, 3, 4, 4)


def test_a_frozen_part_in_front_starts_the_graph_at_the_layer(images):
    model, frozen = network(), network()
    frozen[0].requires_grad_(False)
    assert torch.equal(gradient(frozen, "0", images)[1], gradient(model, "0", images)[1])
    with torch.no_grad(), feature_maps(frozen, "0") as maps:
        frozen(images)
        assert not maps.latest.requires_grad


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.same = nn.Conv2d(1, 1, 1)
        self.unused = nn.Conv2d(1, 1, 1)

    def forward(self, images):
        return self.same(self.same(images)).flatten(1)


def test_a_layer_that_is_called_twice_or_never(images):
    model = Twice()
    with pytest.raises(LayerError, match="'same' to be called once"), feature_maps(model, "same"):
        model(images)
    with feature_maps(model, "unused") as maps:
        model(images)
        with pytest.raises(LayerError, match="'unused' to be called in the forward pass"):
            _ = maps.latest
    assert hooks(model) == 0
    model(images)


def test_a_layer_without_maps(images):
    model = network()
    with (
        pytest.raises(LayerError, match=r"feature maps \(N, K, H, W\) or tokens \(N, T, K\), got shape \(5, 8\)"),
        feature_maps(model, "3"),
    ):
        model(images)
    assert hooks(model) == 0


@pytest.mark.parametrize("layer", ["features.7", "", nn.Conv2d(1, 1, 1)])
def test_a_layer_that_is_not_there(layer):
    model = nn.Sequential()
    model.features = nn.Sequential(nn.ReLU())
    with pytest.raises(LayerError, match="Expected `layer` to name a layer"), feature_maps(model, layer):
        pass
