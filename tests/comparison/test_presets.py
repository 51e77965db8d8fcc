"""Every method that has a name, on a small net, the demo's and torchvision's."""

from unittest.mock import patch

import pytest
import torch
from comparison.small_runs import INSTALLED, small_run
from metrics.small_cases import some_images
from torch import nn

from captum_paramsal import Reference
from captum_paramsal.comparison import PRESETS, compare, preset, presets, register_preset
from captum_paramsal.demo import load_model, load_scenes, normalize
from captum_paramsal.errors import InputError
from captum_paramsal.metrics import InputMaps

# Tails need a reference of hundreds of images.
QUICK_TO_SET_UP = [name for name in INSTALLED if name != "input_space_pot"]


@pytest.fixture(scope="module")
def demo():
    model, usual, scenes = load_model(), load_scenes("validation")[:24], load_scenes("test")[:2]
    reference = Reference.fit(model, [(normalize(usual.images), usual.labels)], show_progress=False)
    return model, normalize(scenes.images), scenes, reference


def test_every_preset_on_the_demo(demo):
    model, images, scenes, reference = demo
    metrics = ["sparsity", "pointing_game"]
    options = {"boxes": scenes.boxes, "reference": reference, "show_progress": False}
    found = compare(QUICK_TO_SET_UP, model, images, scenes.labels, metrics=metrics, **options)
    assert found.failures == ()
    count = len(QUICK_TO_SET_UP)
    assert found.methods[:count] == tuple(QUICK_TO_SET_UP)
    assert not found.degenerate.any()
    assert not found.column("sparsity")[:count].isnan().any()
    agreement = found.agreement
    torch.testing.assert_close(agreement.diagonal(), torch.ones(len(agreement), dtype=torch.float64))
    assert torch.equal(agreement, agreement.T)


@pytest.mark.slow
def test_every_preset_on_a_network_of_torchvision():
    models = pytest.importorskip("torchvision.models", exc_type=Exception)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = models.squeezenet1_1(num_classes=5).eval()
    images, targets = some_images(2, size=(35, 40), dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        reference = Reference.fit(model, [(torch.randn(6, 3, 35, 40), torch.arange(6) % 5)], show_progress=False)
    found = small_run(QUICK_TO_SET_UP, images, targets, model=model, reference=reference, metrics=["sparsity"])
    assert found.failures == ()
    assert found.maps[0].shape == (len(QUICK_TO_SET_UP), 35, 40)


def test_presets_are_rebuilt_for_random_models(demo):
    model, images, scenes, reference = demo
    methods = ["grad_cam", "saliency", "input_space_saliency", "random"]
    options = {"reference": reference, "show_progress": False}
    found = compare(methods, model, images, scenes.labels, metrics=["model_randomisation"], **options)
    assert found.failures == ()
    likeness = found.column("randomised rank correlation")
    torch.testing.assert_close(likeness[3], torch.ones(2, dtype=torch.float64))
    assert (likeness[1:3].abs() < 0.9).all()


def test_two_presets_look_at_nothing():
    images, _ = some_images(2, size=(9, 11))
    found = small_run(["centre", "random"], images, metrics=["sparsity"])
    centre, noise = found.maps[0]
    assert divmod(int(centre.argmax()), 11) == (4, 5)
    assert torch.equal(found.maps[1][1], noise)


def wide_model():
    """More filters in their tails than the ten that are boosted."""
    layers = [nn.Conv2d(3, 16, 3), nn.Tanh(), nn.Conv2d(16, 16, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(*layers, nn.Linear(64, 4)).double().eval()


def test_tails_on_a_small_network():
    model, (usual, labels) = wide_model(), some_images(220)
    reference = Reference.fit(model, [(usual, labels)], show_progress=False)
    images, targets = some_images(2)
    options = {"model": model, "reference": reference, "metrics": ["sparsity"]}
    unusual = small_run(["input_space_pot"], 4 * images, targets, **options)
    assert unusual.failures == ()
    assert not unusual.degenerate.any()
    # Where no filter is beyond its threshold, tail probabilities do not change with the pixels.
    calm = small_run(["input_space_pot"], 0 * images, targets, **options)
    assert torch.equal(calm.column("sparsity").isnan(), calm.degenerate)


def test_a_preset_of_ones_own_by_name():
    with patch.dict(presets._presets):

        @register_preset("squares", description="squared pixels", needs_reference=True)
        def squares(model, reference):
            assert isinstance(model, nn.Module)
            assert reference is not None
            return InputMaps(lambda inputs: inputs**2)

        assert PRESETS["squares"].build is squares
        with pytest.raises(InputError, match="Expected a `reference` for 'squares'"):
            preset("squares", wide_model())
        with pytest.raises(InputError, match="'squares', which is: squared pixels"):
            register_preset("squares", description="something else")
        images, (usual, labels) = some_images(2)[0], some_images(20)
        reference = Reference.fit(wide_model(), [(usual, labels)], show_progress=False)
        found = small_run(["squares"], images, model=wide_model(), reference=reference, metrics=["sparsity"])
        torch.testing.assert_close(found.maps[1][0], (images[1] ** 2).sum(dim=0).float())
        with pytest.raises(InputError, match=r"got 'squars'; nearest: .*squares"):
            preset("squars", wide_model())
    assert "squares" not in PRESETS
