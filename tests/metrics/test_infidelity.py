from dataclasses import replace

import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Saliency
from captum.metrics import infidelity, infidelity_perturb_func_decorator
from metrics.small_cases import case_of, case_with, small_model, some_images
from torch import nn
from torch.nn.functional import cross_entropy

from captum_paramsal.errors import InputError
from captum_paramsal.metrics import Case, GaussianNoise, Infidelity, InputMaps, SharedPasses, SquareRemoval
from captum_paramsal.metrics.perturbations import perturbed_copies


def direct(model, images, maps, metric, *, multiplies=False, forward=None, target=None, args=None, baselines=None):
    """Captum's own function, called as its documentation says."""

    @infidelity_perturb_func_decorator(multiplies)
    def perturb(inputs, _=None):
        assert len(inputs) == len(images) * metric.samples
        return perturbed_copies(images, metric.noise, metric.seed, range(metric.samples))

    return infidelity(
        forward or model,
        perturb,
        images,
        maps,
        baselines=baselines,
        target=target,
        additional_forward_args=args,
        n_perturb_samples=metric.samples,
        normalize=metric.normalize,
    )


METHODS = {
    "saliency": lambda model: InputMaps(Saliency(model), abs=False),
    "integrated gradients": lambda model: InputMaps(IntegratedGradients(model), n_steps=4),
    "other baseline": lambda model: InputMaps(IntegratedGradients(model), n_steps=4, baselines=0.5),
    "grad_cam": lambda model: InputMaps(LayerGradCam(model, model[2])),
}


@pytest.mark.parametrize("noise", [GaussianNoise(0.1), SquareRemoval(0.5)])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_as_captum_has_it(name, normalize, noise):
    model = small_model()
    case = case_of(METHODS[name](model), model)
    metric = Infidelity(normalize, samples=4, noise=noise)
    multiplies = name in ("integrated gradients", "other baseline", "grad_cam")
    baselines = 0.5 if name == "other baseline" else None
    how = {"multiplies": multiplies, "target": case.targets, "baselines": baselines}
    expected = direct(model, case.images, case.maps, metric, **how)
    zeros = direct(model, case.images, torch.zeros_like(case.maps), metric, **how)
    found = metric.score(case)
    torch.testing.assert_close(found["infidelity"], expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(found["relative infidelity"], expected / zeros, rtol=1e-12, atol=0)
    assert list(found) == [column.name for column in metric.columns]


def test_of_the_loss():
    model = small_model()
    case = case_of(Saliency(model), model)
    metric = Infidelity(samples=4, of="loss")

    def loss(images, labels):
        return cross_entropy(model(images), labels, reduction="none")

    expected = direct(model, case.images, case.maps, metric, forward=loss, args=(case.targets,))
    found = metric.score(case)
    torch.testing.assert_close(found["infidelity of loss"], expected, rtol=1e-12, atol=0)
    assert metric.name == "infidelity_of_loss"
    assert list(found) == [column.name for column in metric.columns]


def test_relative_infidelity_is_one_minus_the_squared_cosine():
    model = small_model()
    case = case_of(InputMaps(Saliency(model), abs=False), model, count=2)
    metric = Infidelity(samples=6, noise=GaussianNoise(0.5))
    copies = perturbed_copies(case.images, metric.noise, 0, range(6)).view(2, 6, 3, 8, 10)
    predicted = (case.maps[:, None] * (case.images[:, None] - copies)).sum(dim=(2, 3, 4))
    with torch.no_grad():
        real = (model(case.images)[:, None] - model(copies.flatten(0, 1)).view(2, 6, 4))[[0, 1], :, case.targets]
    expected = 1 - torch.cosine_similarity(predicted, real, dim=1) ** 2
    torch.testing.assert_close(metric.score(case)["relative infidelity"], expected)


def test_a_gradient_predicts_small_noise_perfectly():
    model = small_model()
    case = case_of(InputMaps(Saliency(model), abs=False), model)
    found = Infidelity(samples=5, noise=GaussianNoise(1e-6)).score(case)["relative infidelity"]
    assert (found < 1e-6).all()


def test_the_unit_of_a_map_does_not_matter():
    case = case_of(Saliency(small_model()))
    scaled = case.explained_by(case.explain, -250 * case.maps)
    for metric, same in ((Infidelity(samples=3), True), (Infidelity(normalize=False, samples=3), False)):
        one, other = (metric.score(each)["infidelity"] for each in (case, scaled))
        assert torch.allclose(one, other) is same


class Counting(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.rows = model, 0

    def forward(self, images, shift=0.0):
        self.rows += len(images)
        return self.model(images) + shift


def test_methods_share_the_passes():
    model = Counting(small_model())
    images, targets = some_images()
    shared = SharedPasses()
    scores = []
    for method in (Saliency(model.model), IntegratedGradients(model.model)):
        case = Case.of(model, method, images, targets, shared=shared)
        scores += [Infidelity(samples=4).score(case), Infidelity(samples=4, of="loss").score(case)]
    assert model.rows == 3 + 3 * 4
    alone = Infidelity(samples=4).score(replace(case, shared=SharedPasses()))
    assert torch.equal(scores[2]["infidelity"], alone["infidelity"])
    # Other weights, other arguments or other copies are passes of their own.
    Infidelity(samples=4, seed=1).score(case)
    assert model.rows == 30 + 12
    Infidelity(samples=4).score(replace(case, additional_forward_args=(torch.ones(3, 4),)))
    assert model.rows == 30 + 12 + 15


@pytest.mark.parametrize("size", [1, 3, 5, 7, 100])
def test_the_size_of_passes_changes_nothing(size):
    model = small_model()
    case = case_of(Saliency(model), model)
    expected = Infidelity(samples=4).score(case)
    found = Infidelity(samples=4).score(replace(case, max_examples_per_batch=size, shared=SharedPasses()))
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-10, atol=0)


def test_a_batch_is_its_images_one_by_one():
    model = Counting(small_model())
    images, targets = some_images()
    shift = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for method in (Saliency(model), InputMaps(IntegratedGradients(model), n_steps=3)):
        whole = Case.of(model, method, images, targets, additional_forward_args=shift)
        found = Infidelity(samples=4).score(whole)
        for i in range(3):
            part = Case.of(
                model, method, images[i : i + 1], targets[i : i + 1], additional_forward_args=shift[i : i + 1]
            )
            for name, values in Infidelity(samples=4).score(part).items():
                torch.testing.assert_close(values, found[name][i : i + 1], rtol=1e-10, atol=0)


def test_degenerate_maps_and_constant_models():
    maps = torch.zeros(3, 3, 8, 10)
    maps[1, 0, 2, 3] = 1.0
    maps[2, 1, 1, 1] = torch.nan
    found = Infidelity(samples=3).score(case_with(maps))
    assert found["infidelity"].isnan().tolist() == [True, False, True]
    constant = case_with(maps[1:2], model=lambda images: images.new_ones(len(images), 4))
    found = Infidelity(samples=3).score(constant)
    assert found["infidelity"].tolist() == [0]
    assert found["relative infidelity"].isnan().all()


def test_a_model_that_writes_over_its_input():
    model = small_model()
    case = case_of(Saliency(model), model)
    writing = replace(
        case, model=lambda images: model(images.mul_(1)) + 0 * images.mul_(0).sum(), shared=SharedPasses()
    )
    assert torch.equal(Infidelity().score(writing)["infidelity"], Infidelity().score(case)["infidelity"])


@pytest.mark.parametrize("settings", [{"samples": 0}, {"samples": 2.5}, {"of": "probability"}])
def test_bad_settings(settings):
    with pytest.raises(InputError, match=f"got {next(iter(settings.values()))!r}"):
        Infidelity(**settings)
