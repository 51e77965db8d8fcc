"""Trained networks and real images: equal to the batch-of-one loop."""

from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from cases import real_models as real
from cases.scores import scores_of
from oracles.deviation import assert_exact, assert_rounding
from oracles.parameter_saliency import convolutions, profile_loop
from torch import Tensor, nn

from captum_paramsal.attr import ParameterSaliency

pytestmark = pytest.mark.data


@dataclass
class Scored:
    name: str
    model: nn.Module
    images: Tensor
    labels: Tensor
    layers: list[str]
    exact: dict[str, Tensor]

    @property
    def double(self) -> nn.Module:
        return deepcopy(self.model).double()


@pytest.fixture(scope="module", params=[pytest.param("SqueezeNet", marks=pytest.mark.slow), "ResNet-20"])
def scored(request, paramsal_data):
    if request.param == "SqueezeNet":
        model, (images, labels) = real.squeezenet(paramsal_data), real.imagenet(paramsal_data, 6)
        layers = [name for name in convolutions(model) if name != "classifier.1"]
    else:
        model, (images, labels) = real.resnet20(paramsal_data), real.cifar10(paramsal_data, 12)
        layers = convolutions(model)
    with torch.no_grad():
        right = model(images).argmax(1) == labels
    assert right.any(), f"{request.param} classifies none of the images rightly: is the preprocessing right?"
    exact = profile_loop(deepcopy(model).double(), images.double(), labels, layers)
    return Scored(request.param, model, images, labels, layers, exact)


def test_layers(scored):
    assert list(ParameterSaliency(scored.model).filters.layers) == scored.layers


def test_float64(scored):
    assert_exact(scored.name, scores_of(scored.double, scored.images.double(), scored.labels), scored.exact)


def test_float64_in_small_batches(scored):
    scores = scores_of(scored.double, scored.images.double(), scored.labels, internal_batch_size=4)
    assert_exact(scored.name, scores, scored.exact)


def test_float32(scored):
    # On the very forward passes of the loop, so that no maximum or ReLU at a tie falls the other way.
    case = scored.model, scored.images, scored.labels
    loop = profile_loop(*case, scored.layers)
    assert_rounding(scored.name, scores_of(*case, internal_batch_size=1), [loop], scored.exact)


def test_float32_in_one_batch(scored):
    # A batched forward pass rounds ties its own way, with or without us: its loop stands beside the other.
    case = scored.model, scored.images, scored.labels
    loops = [profile_loop(*case, scored.layers, one_forward=together) for together in (False, True)]
    assert_rounding(scored.name, scores_of(*case), loops, scored.exact)


def test_mistakes_at_the_true_label_and_at_the_prediction(scored):
    double, images = scored.double, scored.images.double()
    with torch.no_grad():
        predicted = double(images).argmax(1)
    exact = profile_loop(double, images, predicted, scored.layers)
    assert_exact(f"{scored.name} at its prediction", scores_of(double, images, None), exact)


def test_class_scores_of_squeezenet_by_name(paramsal_data):
    model, (images, labels) = real.squeezenet(paramsal_data).double(), real.imagenet(paramsal_data, 2)
    images = images.double()
    exact = profile_loop(model, images, labels, ["classifier.1"])
    assert exact["classifier.1"].shape == (2, 1000)
    assert_exact("SqueezeNet", scores_of(model, images, labels, "classifier.1"), exact)
