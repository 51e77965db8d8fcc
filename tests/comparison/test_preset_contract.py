"""What every method by name keeps to: each image has its own map, and the model is left as it was."""

import pytest
import torch
from cases.patch_transformer import patch_transformer
from comparison.small_runs import OF_CONVOLUTIONS, OF_TRANSFORMERS, with_library
from contract.snapshot import nothing_left_behind
from metrics.small_cases import small_model, some_images
from torch import nn

from captum_paramsal import Reference
from captum_paramsal.comparison import PRESETS, preset
from captum_paramsal.comparison.presets.registry import required
from captum_paramsal.errors import InputError, LayerError
from captum_paramsal.metrics.model_state import explaining

IMAGES, TARGETS = some_images(3, size=(12, 14))


def model_for(name):
    return patch_transformer() if name in OF_TRANSFORMERS else small_model()


def built(name, model):
    usual = some_images(220, size=(12, 14)) if name == "input_space_pot" else some_images(12, size=(12, 14))
    needed = PRESETS[name].needs_reference
    return preset(name, model, Reference.fit(model, [usual], show_progress=False) if needed else None)


EVERY = [with_library(name) for name in (*OF_CONVOLUTIONS, *OF_TRANSFORMERS)]


@pytest.mark.parametrize("name", EVERY)
def test_a_batch_has_the_maps_that_its_images_have_one_by_one(name):
    model = model_for(name)
    method = built(name, model)
    maps = method(IMAGES, target=TARGETS)
    assert maps.shape == IMAGES.shape
    assert maps.dtype == torch.float64
    alone = torch.cat([method(IMAGES[n : n + 1], target=TARGETS[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(maps, alone, rtol=1e-9, atol=1e-12)
    turned = method(IMAGES.flip(0), target=TARGETS.flip(0)).flip(0)
    torch.testing.assert_close(maps, turned, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_left_behind(name):
    model = model_for(name)
    method = built(name, model)
    images, targets = IMAGES.clone(), TARGETS.clone()
    with nothing_left_behind(model, images, targets), explaining(model, 0):
        first = method(images, target=targets)
    with torch.no_grad(), explaining(model, 0):
        torch.testing.assert_close(method(images, target=targets), first, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OF_TRANSFORMERS)
def test_attention_is_asked_for(name):
    with pytest.raises(LayerError, match=f"attention for '{name}', got Sequential.*Take 'grad_cam'"):
        preset(name, small_model())


@pytest.mark.parametrize("name", ["guided_backprop", "deconvolution"])
def test_modules_of_relu_are_asked_for(name):
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.SiLU(), nn.Flatten(), nn.Linear(240, 4))
    with pytest.raises(LayerError, match=f"nn.ReLU modules for '{name}'.*got Sequential without"):
        preset(name, model)


@pytest.mark.parametrize("name", ["layer_cam", "finer_cam", "ablation_cam", "score_cam"])
def test_maps_are_asked_for(name):
    with pytest.raises(LayerError, match="Expected"):
        preset(name, nn.Sequential(nn.Flatten(), nn.Linear(504, 4)).double())


def test_a_library_that_is_not_installed_is_named_with_the_remedy():
    with pytest.raises(InputError, match=r'Expected nowhere for .lrp.*pip install "captum-paramsal\[lrp\]"'):
        required("nowhere.composites", "lrp", "lrp")


def test_only_some_are_compared_where_none_is_named():
    by_default = [name for name, one in PRESETS.items() if one.by_default]
    assert by_default == [
        "grad_cam",
        "grad_cam_plus_plus",
        "integrated_gradients",
        "saliency",
        "guided_grad_cam",
        "deep_lift",
        "occlusion",
        "noise_tunnel",
        "input_space_saliency",
        "input_space_pot",
        "discernible_neurons",
        "cnn_fixations",
        "model_doctor",
        "random",
    ]
