from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import (
    DeepLift,
    GradientShap,
    GuidedGradCam,
    IntegratedGradients,
    LayerAttribution,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from metrics.small_cases import small_model, some_images
from torch import nn

from captum_paramsal import InputSpaceSaliency, ParameterSaliency
from captum_paramsal.errors import InputError
from captum_paramsal.metrics import InputMaps


def test_maps_of_the_inputs_shape_stay_as_they_are():
    model = small_model()
    images, targets = some_images()
    maps = InputMaps(Saliency(model), abs=False)(images, target=targets)
    expected = Saliency(model).attribute(images.clone().requires_grad_(), target=targets, abs=False)
    assert torch.equal(maps, expected)
    assert not maps.requires_grad
    assert images.grad is None
    assert not images.requires_grad


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_layer_maps_are_enlarged(mode):
    model = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), *small_model(5)).double()
    images, targets = some_images()
    coarse = LayerGradCam(model, model[0]).attribute(images, target=targets).detach()
    maps = InputMaps(LayerGradCam(model, model[0]), interpolate_mode=mode)(images, target=targets)
    assert maps.shape == images.shape
    assert maps.is_contiguous()
    expected = LayerAttribution.interpolate(coarse, images.shape[2:], mode).expand_as(images)
    torch.testing.assert_close(maps, expected, rtol=0, atol=0)


def test_channels_are_summed_with_their_signs():
    images = torch.zeros(2, 3, 4, 4)
    layer = torch.tensor([1.0, -3.0, 0.5, 0.25]).view(1, 4, 1, 1).expand(2, 4, 2, 2)
    assert torch.equal(InputMaps(lambda _: layer)(images), torch.full_like(images, -1.25))
    assert torch.equal(InputMaps(lambda _: layer[:, 1])(images), torch.full_like(images, -3))


def test_relu_is_the_callers_choice():
    model = small_model()
    images, targets = some_images(6)
    signed, positive = (
        InputMaps(LayerGradCam(model, model[2]), relu_attributions=relu)(images, target=targets)
        for relu in (False, True)
    )
    assert signed.min() < 0
    torch.testing.assert_close(positive, signed.relu())


@pytest.mark.parametrize("method", [LayerGradCam, lambda model, _: Saliency(model)])
def test_a_tuple_gives_a_tuple(method):
    model = small_model()
    images, targets = some_images()
    maps = InputMaps(method(model, model[2]))
    (in_tuple,) = maps((images,), target=targets)
    assert torch.equal(in_tuple, maps(images, target=targets))


def test_several_inputs():
    def forward(images, more):
        return (images + more).flatten(1)

    images, _ = some_images()
    first, second = InputMaps(Saliency(forward), abs=False)((images, images[:, :1]), target=2)
    assert first.shape == images.shape
    assert second.shape == images[:, :1].shape
    with pytest.raises(InputError, match="one map for each of 2 inputs from <lambda>, got 1 values"):
        InputMaps(lambda inputs: inputs[0])((images, images))


METHODS = {
    "saliency": Saliency,
    "integrated gradients": IntegratedGradients,
    "deep lift": DeepLift,
    "occlusion": Occlusion,
    "guided": lambda model: GuidedGradCam(model, model[2]),
    "smooth": lambda model: NoiseTunnel(LayerGradCam(model, model[2])),
    "shap": GradientShap,
    "pixels": lambda model: InputSpaceSaliency(ParameterSaliency(model)),
}
ARGUMENTS = {
    "integrated gradients": {"n_steps": 4},
    "occlusion": {"sliding_window_shapes": (3, 4, 5), "strides": (3, 4, 5)},
    "smooth": {"nt_samples": 2},
    "shap": {"baselines": torch.zeros(2, 3, 8, 10, dtype=torch.float64), "n_samples": 2},
}


@pytest.mark.parametrize("grad_mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", METHODS)
def test_methods_under_every_grad_mode(name, grad_mode):
    model = small_model()
    images, targets = some_images()
    hooks = [len(module._forward_hooks) for module in model.modules()]
    with torch.random.fork_rng(devices=[]), grad_mode():
        given = images + 0
        maps = InputMaps(METHODS[name](model), **ARGUMENTS.get(name, {}))(given, target=targets)
    assert maps.shape == images.shape
    assert not maps.is_inference()
    assert not maps.requires_grad
    assert maps.isfinite().all()
    assert [len(module._forward_hooks) for module in model.modules()] == hooks


def test_multiplies_by_inputs():
    model = small_model()

    def function(images):
        return images

    assert InputMaps(IntegratedGradients(model)).multiplies_by_inputs
    assert not InputMaps(IntegratedGradients(model, multiply_by_inputs=False)).multiplies_by_inputs
    assert InputMaps(partial(IntegratedGradients(model).attribute, n_steps=3)).multiplies_by_inputs
    assert InputMaps(LayerGradCam(model, model[0])).multiplies_by_inputs
    assert not InputMaps(function).multiplies_by_inputs
    function.multiplies_by_inputs = True
    assert InputMaps(function).multiplies_by_inputs


def test_what_functions_are_given():
    images, targets = some_images()
    seen = []

    def by_name(inputs, n_steps=3, target=None, additional_forward_args=None):
        seen.append((n_steps, target, additional_forward_args))
        return inputs

    def by_place(images, labels, *, blur=2.0):
        seen.append((labels, blur))
        return images

    def anything(images, **named):
        seen.append(named)
        return images

    InputMaps(by_name, n_steps=5)(images, targets, (1.0,))
    InputMaps(by_place, blur=1.0)(images, targets)
    InputMaps(anything)(images, targets)
    InputMaps(lambda images, _, factor: images * factor)(images, targets, 3.0)
    assert torch.equal(seen[0][1], targets)
    assert seen[0][::2] == (5, (1.0,))
    assert torch.equal(seen[1][0], targets)
    assert seen[1][1] == 1.0
    assert torch.equal(seen[2]["target"], targets)
    assert seen[2]["additional_forward_args"] is None
    # What a function does not take, it does not need.
    assert torch.equal(InputMaps(lambda images: 2 * images)(images, targets, (1.0,)), 2 * images)


def test_captums_bound_methods_take_their_target_by_name():
    model = small_model()
    images, targets = some_images()
    integrated = IntegratedGradients(model)
    expected = InputMaps(integrated, n_steps=4)(images, targets)
    assert torch.equal(InputMaps(integrated.attribute, n_steps=4)(images, targets), expected)


def test_functions_see_plain_tensors():
    images, _ = some_images()
    assert torch.equal(InputMaps(lambda images: np.abs(images.numpy()))((images,))[0], images.abs())
    mask = InputMaps(lambda images: images[:, 0] > 0)(images)
    assert mask.dtype == images.dtype
    assert torch.equal(mask[:, 2], (images[:, 0] > 0).double())


def test_what_is_not_finite_stays():
    images, _ = some_images()
    maps = InputMaps(lambda images: images.where(images > 0, torch.nan))(images)
    assert torch.equal(maps.isnan(), images <= 0)


def test_channels_last_maps_become_contiguous():
    images, _ = some_images()
    maps = InputMaps(lambda images: images.to(memory_format=torch.channels_last))(images)
    assert maps.is_contiguous()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda images: images.new_zeros(3, 7), r"\(3, 3, 8, 10\) from <lambda>: .* got \(3, 7\)\. Scores of filters"),
        (lambda images: images[:2], r"got \(2, 3, 8, 10\)"),
        (lambda images: images[:, :, None], r"got \(3, 3, 1, 8, 10\)"),
        (lambda images: [images, images], "one map for each of 1 inputs from <lambda>, got 2 values"),
        (lambda _: "map", "got str"),
        (lambda images: images * 1j, "got torch.complex128 of shape"),
        (ParameterSaliency(small_model()), r"from ParameterSaliency: .* got \(3, 11\).*InputSpaceSaliency"),
    ],
)
def test_what_are_no_maps(method, message):
    images, targets = some_images()
    with pytest.raises(InputError, match=message):
        InputMaps(method)(images, target=targets)


def test_what_is_no_method():
    with pytest.raises(InputError, match="Attribution or a function, got str"):
        InputMaps("saliency")
    with pytest.raises(InputError, match="tensor or a tuple of them, got list"):
        InputMaps(lambda images: images)([1.0])


def test_description():
    found = InputMaps(Saliency(small_model()), abs=False, baselines=torch.zeros(1, 3), size=(3, 4)).description
    assert found == "Saliency(abs=False, baselines=tensor (1, 3), size=(3, 4), interpolate_mode='bilinear')"


def test_the_target_of_one_image_is_that_of_its_copies():
    seen = []

    def method(inputs, target=None, additional_forward_args=None):
        del additional_forward_args
        seen.append(target)
        return inputs

    InputMaps(method)(torch.rand(3, 1, 4, 4), target=torch.tensor([2]))
    assert seen[0].tolist() == [2, 2, 2]
