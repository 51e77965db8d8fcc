"""Curves on trained networks and three real mistakes, against a fresh copy of the network for every step."""

import pytest
import torch
from cases import real_models as real
from repair.interventions.slow_curves import slow_scores, step, zero

from captum_paramsal import ParameterSaliency
from captum_paramsal.repair import fine_tune_curve, knock_out_curve

pytestmark = pytest.mark.data
MISTAKES, FILTERS = 3, 6


@pytest.fixture(scope="module", params=[pytest.param("SqueezeNet", marks=pytest.mark.slow), "ResNet-20"])
def mistakes(request, paramsal_data):
    """Network, three images that it gets wrong, and their labels."""
    if request.param == "SqueezeNet":
        model, (images, labels) = real.squeezenet(paramsal_data), real.imagenet(paramsal_data, 60)
    else:
        model, (images, labels) = real.resnet20(paramsal_data), real.cifar10(paramsal_data, 100)
    with torch.no_grad():
        wrong = torch.cat([model(part).argmax(dim=1) for part in images.split(10)]) != labels
    assert wrong.sum() >= MISTAKES
    return model, images[wrong][:MISTAKES], labels[wrong][:MISTAKES]


@pytest.mark.parametrize("curve", [knock_out_curve, fine_tune_curve])
@pytest.mark.slow
def test_equal_to_a_copy_for_every_step(mistakes, curve):
    model, images, labels = mistakes
    saliency = ParameterSaliency(model)
    ranking = saliency.attribute(images, labels)
    found = curve(model, images, labels, ranking, saliency.filters, k=FILTERS, show_progress=False)
    order = [[(one.layer, one.index) for one in own] for own in saliency.filters.top(ranking, FILTERS)]
    change = zero if curve is knock_out_curve else step(0.001)
    confidence = slow_scores(model, images, labels, order, change).softmax(dim=2)
    examples = torch.arange(MISTAKES)
    predicted = confidence[:, 0].argmax(dim=1)
    torch.testing.assert_close(found.wrong, confidence[examples, :, predicted].double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.true, confidence[examples, :, labels].double(), rtol=0, atol=1e-5)
    assert torch.equal(found.corrected, confidence.argmax(dim=2) == labels[:, None])
