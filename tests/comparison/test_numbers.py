"""The numbers of a comparison are those of direct calls of Captum."""

from math import sqrt

import pytest
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Saliency
from captum.metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max
from comparison.small_runs import small_run
from contract.snapshot import nothing_left_behind
from metrics.small_cases import small_model, some_images

from captum_paramsal.comparison import compare
from captum_paramsal.metrics import Infidelity, Sensitivity, UniformNoise, gini_index
from captum_paramsal.metrics.perturbations import perturbed_copies

INFIDELITY, SENSITIVITY = Infidelity(samples=4), Sensitivity(samples=3)


def interpolated_grad_cam(model):
    method = LayerGradCam(model, model[3])

    def explain(inputs, target):
        coarse = method.attribute(inputs, target=target, relu_attributions=True)
        return LayerAttribution.interpolate(coarse, inputs.shape[2:], "bilinear").expand_as(inputs).contiguous()

    return explain


def integrated(model):
    method = IntegratedGradients(model)
    return lambda inputs, target: method.attribute(inputs, target=target, internal_batch_size=48)


def gradients(model):
    method = Saliency(model)
    return lambda inputs, target: method.attribute(inputs.clone().requires_grad_(), target=target)


BY_HAND = {
    "saliency": (gradients, False),
    "integrated_gradients": (integrated, True),
    "grad_cam": (interpolated_grad_cam, True),
}


def direct(model, images, targets, explain, *, multiplies):
    """What Captum's documentation says to do, without any of this package's adapters."""
    given = []

    @infidelity_perturb_func_decorator(multiplies)
    def removal(inputs, _=None):
        assert len(inputs) == 12
        return perturbed_copies(images, INFIDELITY.noise, 0, range(4))

    def shaken(inputs, _=None):
        given.append(len(inputs))
        return perturbed_copies(images, UniformNoise(0.02), 0, range(3))

    maps = explain(images, targets).detach()
    error = infidelity(model, removal, images, maps, target=targets, n_perturb_samples=4, normalize=True)

    def as_tuple(inputs, target):
        given_images = inputs[0] if isinstance(inputs, tuple) else inputs
        return (explain(given_images, target).detach(),)

    change = sensitivity_max(as_tuple, images, shaken, n_perturb_samples=3, target=targets)
    assert given == [9]
    return {"infidelity": error, "sensitivity": change, "sparsity": gini_index(maps.sum(dim=1).flatten(1))}


def test_as_direct_calls_of_captum():
    model = small_model()
    images, targets = some_images()
    metrics = [INFIDELITY, SENSITIVITY, "sparsity"]
    found = compare(list(BY_HAND), model, images, targets, metrics=metrics, batch_size=2, show_progress=False)
    assert found.failures == ()
    for place, (build, multiplies) in enumerate(BY_HAND.values()):
        expected = direct(model, images, targets, build(model), multiplies=multiplies)
        for name, values in expected.items():
            torch.testing.assert_close(found.column(name)[place], values.double(), rtol=1e-9, atol=0)


def test_grad_cam_is_not_wrong_by_the_root_of_the_copies():
    # Given a tuple of one image, Captum's Grad-CAM returns a tensor, whose rows are taken for maps of several inputs.
    model = small_model()
    images, targets = some_images(1)
    method = LayerGradCam(model, model[2])

    def shaken(_):
        return perturbed_copies(images, UniformNoise(0.02), 0, range(3))

    given = images.clone().requires_grad_()
    naive = sensitivity_max(method.attribute, given, shaken, n_perturb_samples=3, target=targets)
    found = small_run({"grad_cam": method}, images, targets, metrics=[SENSITIVITY]).column("sensitivity")[0]
    assert found > 0
    torch.testing.assert_close(found, naive / sqrt(3), rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    "targets",
    [2, torch.tensor(2), torch.tensor([2]), torch.tensor([2, 2, 2], dtype=torch.int32), [2, 2, 2], (2,), [(2,)] * 3],
    ids=repr,
)
def test_targets_of_every_kind(targets):
    found = small_run(["saliency"], targets=targets)
    assert found.targets.tolist() == [2, 2, 2]
    expected = small_run(["saliency"], targets=torch.full((3,), 2))
    assert torch.equal(found.scores[:, :3], expected.scores[:, :3])


def test_without_targets_the_prediction_is_explained():
    images, _ = some_images()
    predicted = small_model()(images).argmax(dim=1)
    found = small_run()
    assert torch.equal(found.targets, predicted)
    assert torch.equal(found.predicted, predicted)


def test_batches_change_nothing():
    images, targets = some_images(5)
    one, other = (
        small_run(["saliency", "deep_lift"], images, targets, batch_size=size, metrics=BASIC) for size in (1, 16)
    )
    torch.testing.assert_close(one.scores[:, :-2], other.scores[:, :-2], rtol=1e-9, atol=1e-12, equal_nan=True)
    torch.testing.assert_close(one.agreements, other.agreements, rtol=1e-9, atol=1e-12)
    assert one.kept == other.kept == (0, 1, 2, 3, 4)


BASIC = [INFIDELITY, SENSITIVITY, "deletion", "insertion"]


def test_images_of_several_sizes_keep_their_order():
    small, _ = some_images(2, size=(8, 10))
    large, _ = some_images(2, size=(12, 9))
    images = [small[0], large[0], small[1], large[1]]
    found = small_run(["saliency", "grad_cam"], images, [0, 1, 2, 3], metrics=BASIC, keep=3)
    assert found.targets.tolist() == [0, 1, 2, 3]
    assert found.kept == (0, 1, 2)
    assert [tuple(maps.shape) for maps in found.maps] == [(2, 8, 10), (2, 12, 9), (2, 8, 10)]
    assert all(torch.equal(found.pictures[i], images[i]) for i in range(3))
    for i, image in enumerate(images):
        alone = small_run(["saliency", "grad_cam"], image[None], [i], metrics=BASIC)
        torch.testing.assert_close(alone.scores[:, :-2, 0], found.scores[:, :-2, i], equal_nan=True)
        torch.testing.assert_close(alone.agreements[0], found.agreements[i])


def test_one_image():
    found = small_run(images=some_images(1)[0])
    assert len(found) == 1
    row = found.table()[0]
    assert row["images"] == 1
    assert row["low"] != row["low"]
    assert all(pair.p_value != pair.p_value for pair in found.paired("infidelity"))


def test_own_methods_captums_and_functions_side_by_side():
    model = small_model()

    def gradient(inputs, target):
        inputs = inputs.requires_grad_()
        return torch.autograd.grad(model(inputs)[range(len(inputs)), target].sum(), inputs)[0].abs()

    found = small_run({"by name": "saliency", "Captum's": Saliency(model), "mine": gradient}, model=model)
    judged = found.scores[:, :3]
    assert torch.allclose(judged[0], judged[1])
    assert torch.allclose(judged[0], judged[2])
    torch.testing.assert_close(found.agreement, torch.ones(3, 3, dtype=torch.float64))


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_left_behind(training):
    model = small_model().train(training)
    model[0].weight.requires_grad_(not training)
    images, targets = some_images()
    images.requires_grad_()
    methods = ["saliency", "grad_cam", "guided_grad_cam", "deep_lift", "noise_tunnel", "model_doctor", "cnn_fixations"]
    metrics = [Infidelity(samples=2), Sensitivity(samples=2), "deletion"]
    with nothing_left_behind(model, images, targets):
        found = compare(methods, model, images, targets, metrics=metrics, show_progress=False)
    assert not found.pictures[0].requires_grad
    assert found.failures == ()


def test_nothing_is_left_behind_by_a_method_that_raises():
    model = small_model().train()
    method = Saliency(model)

    def breaks(inputs, target):
        method.attribute(inputs.requires_grad_(), target=target)
        torch.rand(3)
        model.eval()
        message = "broken"
        raise RuntimeError(message)

    with nothing_left_behind(model):
        found = small_run({"broken": breaks}, model=model)
    assert len(found.failures) == 3
