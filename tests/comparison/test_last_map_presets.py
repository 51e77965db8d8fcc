"""Methods of the last feature maps, against Captum's where it has them and against their papers' loops."""

from math import exp
from unittest.mock import patch

import pytest
import torch
from captum.attr import LayerFeatureAblation, LayerGradCam, LayerGradientXActivation
from cases.patch_transformer import patch_transformer
from metrics.small_cases import some_images
from torch import nn
from torch.nn.functional import interpolate

from captum_paramsal.comparison import preset
from captum_paramsal.comparison.presets import last_maps

SIZE = (12, 14)
IMAGES, TARGETS = some_images(3, size=SIZE)


@pytest.fixture(scope="module")
def model():
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(24, 5)).double().eval()


def enlarged(maps):
    return interpolate(maps, SIZE, mode="bilinear").expand_as(IMAGES)


def test_layer_cam_is_the_sum_of_captums_contributions_where_maps_are_positive(model):
    contributions = LayerGradientXActivation(model, model[4], multiply_by_inputs=True).attribute(IMAGES, TARGETS)
    expected = enlarged(contributions.detach().relu().sum(dim=1, keepdim=True))
    torch.testing.assert_close(preset("layer_cam", model)(IMAGES, target=TARGETS), expected)


def test_finer_cam_is_captums_grad_cam_of_differences(model):
    def difference(image, label):
        own = model(image)[0].detach()
        order = sorted((c for c in range(5) if c != label), key=lambda c: abs(float(own[c] - own[label])))

        def forward(x):
            scores = model(x)
            return scores[:, label] - 0.6 * scores[:, order[:3]].mean(dim=1)

        return forward

    maps = [
        LayerGradCam(difference(image[None], int(label)), model[4]).attribute(image[None], relu_attributions=True)
        for image, label in zip(IMAGES, TARGETS, strict=True)
    ]
    expected = enlarged(torch.cat(maps).detach())
    torch.testing.assert_close(preset("finer_cam", model)(IMAGES, target=TARGETS), expected)


@pytest.mark.parametrize("held", [None, 1])
def test_ablation_cam_is_that_of_captums_ablations(model, held):
    channels = torch.arange(6)[None, :, None, None].expand(1, 6, 4, 5)
    drops = LayerFeatureAblation(model, model[4]).attribute(IMAGES, target=TARGETS, layer_mask=channels)
    maps = model[:5](IMAGES).detach()
    expected = enlarged((drops.detach() * maps).sum(dim=1, keepdim=True).relu())
    with patch.object(last_maps, "GRAPH_BYTES", held or last_maps.GRAPH_BYTES):
        torch.testing.assert_close(preset("ablation_cam", model)(IMAGES, target=TARGETS), expected)


def test_score_cam_mask_by_mask(model):
    expected = []
    for image, label in zip(IMAGES, TARGETS.tolist(), strict=True):
        maps = model[:5](image[None])[0].detach()
        scores = {}
        for channel in range(6):
            mask = interpolate(maps[None, None, channel], SIZE, mode="bilinear")[0, 0]
            if float(mask.max()) > float(mask.min()):
                mask = (mask - mask.min()) / (mask.max() - mask.min())
                difference = model((image * mask)[None])[0, label] - model(torch.zeros_like(image)[None])[0, label]
                scores[channel] = float(difference.detach())
        total = sum(map(exp, scores.values()))
        expected.append(sum(exp(score) / total * maps[channel] for channel, score in scores.items()).clamp(min=0))
    found = preset("score_cam", model)(IMAGES, target=TARGETS)
    torch.testing.assert_close(found, enlarged(torch.stack(expected)[:, None]))


def test_two_classes_have_one_other():
    two = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)).double()
    found = preset("finer_cam", two.eval())(IMAGES, target=TARGETS % 2)
    assert torch.isfinite(found).all()


def test_grad_cam_of_tokens():
    model, images = patch_transformer(), some_images(2, size=(8, 12))[0]
    tokens = model.tokens(images).detach().requires_grad_()
    (gradients,) = torch.autograd.grad(model.head(tokens.mean(1))[:, 2].sum(), tokens)
    places = ((gradients.mean(1, keepdim=True) * tokens).sum(2)).relu().detach().view(2, 1, 2, 3)
    expected = interpolate(places, (8, 12), mode="bilinear").expand_as(images)
    torch.testing.assert_close(preset("grad_cam", model)(images, target=2), expected)
