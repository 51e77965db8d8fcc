from dataclasses import replace
from math import sqrt

import pytest
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, NoiseTunnel, Saliency
from captum.metrics import sensitivity_max
from metrics.small_cases import case_of, case_with, small_model, some_images
from torch import nn

from captum_paramsal import InputSpaceSaliency, ParameterSaliency
from captum_paramsal.errors import InputError
from captum_paramsal.metrics import Case, InputMaps, Sensitivity
from captum_paramsal.metrics.perturbations import UniformNoise, perturbed_copies


def direct(explain, images, targets, metric):
    """Captum's own function with the same copies."""

    def perturb(inputs):
        assert len(inputs) == len(images) * metric.samples
        return perturbed_copies(images, UniformNoise(metric.radius), metric.seed, range(metric.samples))

    given = images.clone().requires_grad_()
    return sensitivity_max(explain, given, perturb_func=perturb, n_perturb_samples=metric.samples, target=targets)


def with_gradients(method, **arguments):
    """Captum's methods warn where the inputs require no gradient."""

    def explain(inputs, target):
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        with torch.enable_grad():
            return method.attribute(tuple(one.detach().requires_grad_() for one in tensors), target=target, **arguments)

    return explain


METHODS = {"saliency": (Saliency, {"abs": False}), "integrated gradients": (IntegratedGradients, {"n_steps": 4})}


@pytest.mark.parametrize("name", METHODS)
def test_as_captum_has_it(name):
    kind, arguments = METHODS[name]
    model = small_model()
    case = case_of(InputMaps(kind(model), **arguments), model)
    metric = Sensitivity(samples=3)
    expected = direct(with_gradients(kind(model), **arguments), case.images, case.targets, metric)
    torch.testing.assert_close(metric.score(case)["sensitivity"], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("samples", [1, 4, 9])
def test_layer_maps_without_the_root_of_the_samples(samples):
    model = small_model()
    images, targets = some_images(1)
    method, metric = LayerGradCam(model, model[2]), Sensitivity(samples=samples, radius=0.2)
    # Given a tuple, the method returns a tensor, and Captum takes its rows for the maps of several inputs.
    naive = direct(method.attribute, images, targets, metric)
    right = direct(lambda x, target: (with_gradients(method)(x, target),), images, targets, metric)
    found = metric.score(Case.of(model, method, images, targets))["sensitivity"]
    torch.testing.assert_close(found, right, rtol=1e-12, atol=0)
    torch.testing.assert_close(naive, sqrt(samples) * right, rtol=1e-9, atol=0)
    assert right > 0


def test_enlarged_layer_maps():
    model = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), *small_model(5)).double()
    case = case_of(LayerGradCam(model, model[0]), model)
    grad_cam, metric = with_gradients(LayerGradCam(model, model[0])), Sensitivity(samples=4, radius=0.3)

    def enlarged(inputs, target):
        coarse = grad_cam(inputs, target)
        return (LayerAttribution.interpolate(coarse, (8, 10), "bilinear").expand(-1, 3, -1, -1).contiguous(),)

    expected = direct(enlarged, case.images, case.targets, metric)
    torch.testing.assert_close(metric.score(case)["sensitivity"], expected, rtol=1e-12, atol=0)


def test_uniform_copies_lie_within_the_radius():
    images, _ = some_images()
    noise = perturbed_copies(images, UniformNoise(0.02), 0, range(50)) - images.repeat_interleave(50, dim=0)
    assert noise.abs().max() < 0.02
    torch.testing.assert_close(noise.std(), torch.tensor(0.02 / sqrt(3)).double(), rtol=0.02, atol=0)


def test_degenerate_maps_are_not_perfect():
    zeros = case_with(torch.zeros(2, 3, 8, 10))
    assert Sensitivity(samples=2).score(zeros)["sensitivity"].isnan().all()
    flat = case_of(lambda images: 0 * images + 1)
    assert Sensitivity(samples=2).score(flat)["sensitivity"].isnan().all()


def test_the_unit_of_a_map_does_not_matter():
    one, other = case_of(lambda images: images.abs()), case_of(lambda images: -300 * images.abs())
    metric = Sensitivity(samples=3)
    torch.testing.assert_close(metric.score(one)["sensitivity"], metric.score(other)["sensitivity"])


@pytest.mark.parametrize("size", [1, 3, 5, 100])
def test_the_size_of_passes_changes_nothing(size):
    model = small_model()
    case = case_of(Saliency(model), model)
    expected = Sensitivity(samples=4).score(case)["sensitivity"]
    found = Sensitivity(samples=4).score(replace(case, max_examples_per_batch=size))["sensitivity"]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


def test_a_batch_is_its_images_one_by_one():
    model = small_model()
    method = InputSpaceSaliency(ParameterSaliency(model))
    whole = Sensitivity(samples=2).score(case_of(method, model))["sensitivity"]
    images, targets = some_images()
    for i in range(3):
        part = Case.of(model, method, images[i : i + 1], targets[i : i + 1])
        torch.testing.assert_close(Sensitivity(samples=2).score(part)["sensitivity"], whole[i : i + 1])


def test_random_methods_are_repeatable():
    model = small_model()
    explain = InputMaps(NoiseTunnel(Saliency(model)), nt_samples=2)
    first, second = (Sensitivity(samples=2).score(case_of(explain, model))["sensitivity"] for _ in range(2))
    assert torch.equal(first, second)


def test_half_precision():
    model = small_model(dtype=torch.bfloat16)
    images, targets = some_images(2, dtype=torch.bfloat16)
    found = Sensitivity(samples=2, radius=0.1).score(Case.of(model, Saliency(model), images, targets))
    assert found["sensitivity"].dtype == torch.float64
    assert found["sensitivity"].isfinite().all()


@pytest.mark.parametrize(("settings", "message"), [({"samples": 0}, "got 0"), ({"radius": -1.0}, "`radius` .* got -1")])
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        Sensitivity(**settings)
