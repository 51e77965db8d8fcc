"""The committed classifier is the documented one, and loading it touches nothing."""

from importlib.resources import files

import pytest
import torch
from safetensors import safe_open
from torch import nn

from captum_paramsal.demo import DemoNet, load_model, load_scenes, normalize
from captum_paramsal.demo.train import Accuracy, tally


@pytest.fixture(scope="module")
def model():
    return load_model()


def test_loading_leaves_the_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_model()
    assert torch.equal(torch.get_rng_state(), before)


def test_every_load_is_a_model_of_its_own_in_evaluation_mode(model):
    other = load_model()
    assert not any(module.training for module in other.modules())
    assert all(parameter.requires_grad for parameter in other.parameters())
    assert not any(tensor.is_meta for tensor in other.state_dict().values())
    with torch.no_grad():
        other.classifier.bias.add_(1)
    assert not torch.equal(other.classifier.bias, model.classifier.bias)


def test_model_has_the_parts_that_later_methods_meet(model):
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(nn.Conv2d) == kinds.count(nn.BatchNorm2d) == 7
    assert all(module.inplace for module in model.modules() if isinstance(module, nn.ReLU))
    assert model.block1.shortcut[0].stride == (2, 2)
    assert sum(parameter.numel() for parameter in model.parameters()) == 73_240


def test_feature_maps_and_scores_have_the_documented_shapes(model):
    shapes = []
    handle = model.block2.register_forward_hook(lambda *call: shapes.append(tuple(call[2].shape)))
    scores = model(normalize(load_scenes()[:3].images))
    handle.remove()
    assert shapes == [(3, 64, 8, 8)]
    assert scores.shape == (3, 8)


def test_gradients_reach_every_parameter():
    model = load_model()
    scenes = load_scenes()[:4]
    nn.functional.cross_entropy(model(normalize(scenes.images)), scenes.labels).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    ("split", "documented"),
    [("validation", Accuracy(480, 82, 71)), ("test", Accuracy(240, 38, 29))],
)
def test_mistakes_are_those_documented(model, split, documented):
    assert tally(model, load_scenes(split)) == documented


def test_no_test_scene_is_close_to_a_tie(model):
    """So the documented counts hold on every processor, however it rounds."""
    with torch.no_grad():
        best, second = model(normalize(load_scenes().images)).topk(2, dim=1).values.T
    assert (best - second).min() > 1e-3


def test_no_test_scene_with_a_loyal_patch_is_mistaken(model):
    scenes = load_scenes()
    loyal = scenes[scenes.cue_labels == scenes.labels]
    assert len(loyal) == 128
    assert tally(model, loyal).mistakes == 0


def test_weights_file_is_small_and_says_where_it_comes_from():
    path = files("captum_paramsal.demo").joinpath("demo.safetensors")
    assert len(path.read_bytes()) < 400_000
    with safe_open(str(path), "pt") as weights:
        command = weights.metadata()["command"]
    assert command == "python -m captum_paramsal.demo.train --scenes 4096 --epochs 10 --seed 0"


def test_untrained_net_has_the_same_weights_by_name():
    assert DemoNet().state_dict().keys() == load_model().state_dict().keys()
