"""Every classification family of torchvision, at the smallest image it can take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from oracles.weights import seeded
from torch import Tensor, nn
from torchvision import models
from torchvision.models.googlenet import BasicConv2d, Inception

CLASSES = 10


@dataclass(frozen=True)
class Family:
    """One network of a family.

    Attributes:
        name: Its name in ``torchvision.models``.
        size: Side of the images in pixels.
        arguments: For its constructor.
        layers: What ``ParameterSaliency`` is asked for; ``None`` is its default.
        classifier: Convolution whose channels are the class scores, where there is one.
        slow: Left out of an ordinary run, for another member of the family stands for it.
        images: How many images are scored.
    """

    name: str
    size: int
    arguments: dict[str, Any] = field(default_factory=dict)
    layers: str | None = None
    classifier: str | None = None
    slow: bool = False
    images: int = 2

    def __str__(self) -> str:
        flags = "".join(f"-{key}" for key, value in self.arguments.items() if value is True)
        return f"{self.name}{flags}{'-' + self.layers if self.layers else ''}"

    def constructor(self) -> Callable[..., nn.Module]:
        return SMALL.get(self.name) or partial(models.get_model, self.name)

    def build(self) -> tuple[nn.Module, Tensor, Tensor]:
        """The network with seeded weights in evaluation mode, float32, with images and labels."""
        generator = torch.Generator().manual_seed(7)
        calibration = torch.randn(32, 3, self.size, self.size, generator=generator)
        model = seeded(self.constructor()(num_classes=CLASSES, **self.arguments), calibration)
        images = torch.randn(self.images, 3, self.size, self.size, generator=generator)
        return model, images, torch.randint(CLASSES, (self.images,), generator=generator)


def small_maxvit(num_classes: int) -> nn.Module:
    """MaxViT's own constructor: ``maxvit_t`` takes nothing below 224 pixels."""
    return models.maxvit.MaxVit(
        input_size=(32, 32),
        stem_channels=8,
        partition_size=2,
        block_channels=[8, 16],
        block_layers=[1, 1],
        head_dim=4,
        stochastic_depth_prob=0.1,
        num_classes=num_classes,
    )


def small_vit(num_classes: int) -> nn.Module:
    return models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=4, hidden_dim=32, mlp_dim=48, num_classes=num_classes
    )


def narrow_classifier(name: str, num_classes: int) -> nn.Module:
    """AlexNet or VGG without the 60 to 120 million weights of its Linear layers; the convolutions are as they were."""
    with torch.device("meta"):
        model = models.get_model(name)
        first = next(layer for layer in model.classifier if isinstance(layer, nn.Linear))
        model.classifier = nn.Sequential(
            nn.Linear(first.in_features, 32), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(32, num_classes)
        )
    model.to_empty(device="cpu")
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.modules.batchnorm._BatchNorm):
            module.reset_parameters()
    return model


def small_resnet(num_classes: int) -> nn.Module:
    return models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=num_classes)


def small_resnext(num_classes: int) -> nn.Module:
    return models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=num_classes, groups=8, width_per_group=4)


def small_densenet(num_classes: int, *, memory_efficient: bool) -> nn.Module:
    return models.DenseNet(8, (3, 3, 2), 16, num_classes=num_classes, memory_efficient=memory_efficient)


def small_efficientnet(num_classes: int) -> nn.Module:
    """One block of each kind: without and with expansion, without and with a shortcut."""
    block = models.efficientnet.MBConvConfig
    stages = [block(1, 3, 1, 16, 8, 1, 1, 1), block(6, 3, 2, 8, 12, 2, 1, 1), block(6, 5, 2, 12, 16, 2, 1, 1)]
    return models.EfficientNet(stages, 0.2, stochastic_depth_prob=0.2, num_classes=num_classes)


def small_mobilenet_v2(num_classes: int) -> nn.Module:
    """Blocks without and with expansion, without and with a shortcut."""
    settings = [[1, 8, 1, 1], [6, 12, 2, 2]]
    return models.MobileNetV2(num_classes, 0.25, settings)


def small_mobilenet_v3(num_classes: int) -> nn.Module:
    """Blocks with and without squeeze and excitation, of both activations, with a shortcut."""
    block = models.mobilenetv3.InvertedResidualConfig
    settings = [
        block(8, 3, 8, 8, True, "RE", 2, 1, 1.0),
        block(8, 3, 24, 12, False, "RE", 2, 1, 1.0),
        block(12, 5, 32, 12, True, "HS", 1, 1, 1.0),
    ]
    return models.MobileNetV3(settings, 32, num_classes)


def small_shufflenet(num_classes: int) -> nn.Module:
    return models.ShuffleNetV2([2, 2, 1], [8, 16, 24, 32, 48], num_classes)


def small_regnet(num_classes: int) -> nn.Module:
    blocks = models.regnet.BlockParams.from_init_params(6, 16, 12.0, 2.0, 8, se_ratio=0.25)
    return models.RegNet(blocks, num_classes=num_classes)


class SmallGoogLeNet(nn.Module):
    """Stem, two Inception blocks and between them an auxiliary head, which works in training alone."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = BasicConv2d(3, 8, kernel_size=3, stride=2)
        self.first = Inception(8, 4, 4, 6, 2, 4, 2)
        self.aux = nn.Sequential(nn.Conv2d(16, 12, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.aux_scores = nn.Linear(12, num_classes)
        self.second = Inception(16, 6, 4, 8, 2, 6, 4)
        self.fc = nn.Linear(24, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(self.stem(images))
        scores: Tensor = self.fc(self.second(maps).mean(dim=(2, 3)))
        return scores + 0.3 * self.aux_scores(self.aux(maps)) if self.training else scores


def small_convnext(num_classes: int) -> nn.Module:
    stage = models.convnext.CNBlockConfig
    return models.ConvNeXt([stage(16, 24, 2), stage(24, 32, 1), stage(32, None, 1)], num_classes=num_classes)


def small_swin(num_classes: int) -> nn.Module:
    return models.SwinTransformer([2, 2], 12, [2, 2], [2, 4], [4, 4], num_classes=num_classes)


SMALL: dict[str, Callable[..., nn.Module]] = {
    "maxvit_small": small_maxvit,
    "vit_small": small_vit,
    "googlenet_small": SmallGoogLeNet,
    "resnet_small": small_resnet,
    "resnext_small": small_resnext,
    "densenet_small": small_densenet,
    "efficientnet_small": small_efficientnet,
    "mobilenet_v2_small": small_mobilenet_v2,
    "mobilenet_v3_of_three_blocks": small_mobilenet_v3,
    "shufflenet_small": small_shufflenet,
    "regnet_small": small_regnet,
    "convnext_of_three_stages": small_convnext,
    "swin_small": small_swin,
    "alexnet": partial(narrow_classifier, "alexnet"),
    "vgg11": partial(narrow_classifier, "vgg11"),
}

FAMILIES = [
    Family("alexnet", 63),
    Family("vgg11", 32),
    Family("vgg13_bn", 32, slow=True),
    Family("vgg16", 32, slow=True),
    Family("vgg19", 32, slow=True),
    Family("resnet_small", 32, images=3),
    Family("resnet18", 32, images=3, slow=True),
    Family("resnet50", 32, slow=True),
    Family("resnet101", 32, slow=True),
    Family("resnext_small", 32),
    Family("resnext50_32x4d", 32, slow=True),
    Family("resnext101_64x4d", 32, slow=True),
    Family("wide_resnet50_2", 32, slow=True),
    Family("densenet121", 32, slow=True),
    Family("densenet_small", 32, {"memory_efficient": True}),
    Family("densenet121", 32, {"memory_efficient": True}, slow=True),
    Family("densenet161", 32, slow=True),
    Family("googlenet", 32, {"aux_logits": True, "init_weights": False}, slow=True),
    Family("googlenet", 32, {"aux_logits": False, "init_weights": False}, slow=True),
    Family("inception_v3", 75, {"aux_logits": True, "init_weights": False}, slow=True),
    Family("squeezenet1_0", 32, classifier="classifier.1", images=3, slow=True),
    Family("squeezenet1_1", 32, classifier="classifier.1"),
    Family("mobilenet_v2", 32, slow=True),
    Family("mobilenet_v2_small", 32),
    Family("mobilenet_v3_of_three_blocks", 32),
    Family("mobilenet_v3_small", 32, slow=True),
    Family("mobilenet_v3_large", 32, slow=True),
    Family("shufflenet_small", 32, images=3),
    Family("shufflenet_v2_x0_5", 32, images=3, slow=True),
    Family("shufflenet_v2_x2_0", 32, slow=True),
    Family("mnasnet0_5", 32, slow=True),
    Family("mnasnet1_3", 32, slow=True),
    Family("efficientnet_small", 32),
    Family("efficientnet_b0", 32, slow=True),
    Family("efficientnet_b2", 32, slow=True),
    Family("efficientnet_v2_s", 32, slow=True),
    Family("regnet_x_400mf", 32, slow=True),
    Family("regnet_small", 32),
    Family("regnet_y_400mf", 32, slow=True),
    Family("regnet_y_3_2gf", 32, slow=True),
    Family("convnext_of_three_stages", 32),
    Family("convnext_tiny", 32, slow=True),
    Family("convnext_small", 32, slow=True),
    Family("vit_small", 32, layers="*", images=3),
    Family("vit_b_16", 32, {"image_size": 32}, layers="*", slow=True),
    Family("vit_b_32", 64, {"image_size": 64}, layers="*", slow=True),
    Family("swin_small", 32, layers="*"),
    Family("swin_t", 32, layers="*", slow=True),
    Family("swin_v2_t", 32, layers="*", slow=True),
    Family("swin_v2_s", 64, layers="*", slow=True),
    Family("maxvit_small", 32, layers="*"),
    Family("maxvit_t", 224, layers="*", slow=True),
]
