"""Every family of torchvision's classification CNNs can be traced, and runs as it does without us."""

import pytest
import torch
from cases.families import SMALL
from torchvision import models

from captum_paramsal import CNNFixations, DiscernibleNeurons
from captum_paramsal.graph import traced_run

QUICK = {"squeezenet1_1": 64, "shufflenet_small": 48, "mobilenet_v3_of_three_blocks": 48, "resnet_small": 48}
THOROUGH = {
    "shufflenet_v2_x0_5": 64,
    "mobilenet_v3_small": 64,
    "resnet18": 64,
    "alexnet": 96,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "googlenet": 64,
    "inception_v3": 128,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_large": 64,
    "regnet_x_400mf": 64,
    "regnet_y_400mf": 64,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "vgg11_bn": 64,
    "wide_resnet50_2": 64,
}
CASES = [*QUICK.items(), *(pytest.param(*case, marks=pytest.mark.slow) for case in THOROUGH.items())]


def build(name):
    """Random weights, with batch norms that have seen such images, as in a trained network."""
    options = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    torch.manual_seed(0)
    model = SMALL[name](10) if name in SMALL else models.get_model(name, weights=None, **options)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    return model


def has_depthwise(model):
    return any(isinstance(one, torch.nn.Conv2d) and one.groups == one.in_channels > 1 for one in model.modules())


@pytest.mark.parametrize(("name", "side"), CASES)
def test_family(name, side):
    model = build(name).train()
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        model(images)
    model.eval()
    labels = model(images).argmax(dim=1)
    for method in (DiscernibleNeurons(model), CNNFixations(model)):
        with torch.no_grad():
            assert torch.equal(traced_run(model, [images]).output, model(images))
        trace = method.trace(images)
        assert torch.equal(trace.labels, labels)
        reached = trace.layers["input"].image.unique().tolist()
        assert reached == [0, 1] if isinstance(method, DiscernibleNeurons) else reached
        for layer in trace.layers.values():
            channels, height, width = layer.size
            assert (layer.channel < channels).all()
            assert (layer.y < height).all()
            assert (layer.x < width).all()
            # The one channel before a depthwise convolution is followed whatever its score.
            assert (layer.score > 0).all() or layer is trace.layers["output"] or has_depthwise(model)
