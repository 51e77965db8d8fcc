"""From a module to the slow tracing's plain list of operations, with the names of the module's layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from cases.real_models import BasicBlock, ResNet20
from oracles import plain_network as plain
from torch import nn
from torch.nn import functional as F
from torchvision.models.squeezenet import Fire, SqueezeNet

Plain = list[plain.Operation]


class Composite(nn.Module):
    """A module that also tells what it computes as plain operations; ``name`` is its own, with a dot behind."""

    def plain(self, name: str) -> Plain:
        raise NotImplementedError


def plain_of(module: nn.Module, name: str) -> Plain:
    """A module's plain operations, named as the module's layers are."""
    prefix = f"{name}." if name else ""
    if isinstance(module, Composite):
        return module.plain(prefix)
    if type(module) in COMPOSITES:
        return COMPOSITES[type(module)](module, prefix)
    if isinstance(module, nn.Sequential):
        return [operation for key, child in module.named_children() for operation in plain_of(child, prefix + key)]
    return [plain_layer(module, name)]


def plain_layer(module: Any, name: str) -> plain.Operation:  # noqa: PLR0911
    """One leaf module."""
    match module:
        case nn.Linear():
            weight = module.weight.detach().numpy()
            return plain.Linear(weight, bias_of(module), name=name)
        case nn.Conv2d():
            return plain_convolution(module, name)
        case nn.BatchNorm2d() | nn.BatchNorm1d():
            arrays = (module.running_mean, module.running_var, module.weight, module.bias)
            return plain.BatchNorm(*(a.detach().numpy() for a in arrays), eps=module.eps, name=name)
        case nn.MaxPool2d():
            window = (pair(module.kernel_size), pair(module.stride), pair(module.padding), pair(module.dilation))
            return plain.MaxPool(*window, ceil_mode=module.ceil_mode, name=name)
        case nn.AvgPool2d():
            window = (pair(module.kernel_size), pair(module.stride), pair(module.padding))
            return plain.AveragePool(*window, module.ceil_mode, module.count_include_pad, name=name)
        case nn.AdaptiveAvgPool2d():
            return plain.AdaptiveAveragePool(pair(module.output_size), name=name)
        case nn.Flatten():
            return plain.Flatten(name=name)
        case nn.Dropout() | nn.Identity():
            return plain.Pointwise(name=name)
    function = ACTIVATIONS[type(module)]
    return plain.Pointwise(function=function, name=name)


ACTIVATIONS = {
    nn.ReLU: torch.relu, nn.Hardswish: F.hardswish, nn.SiLU: F.silu, nn.Sigmoid: torch.sigmoid, nn.ELU: F.elu,
}  # fmt: skip


def plain_convolution(module: nn.Conv2d, name: str) -> plain.Convolution:
    """``padding="same"`` puts the odd row below and the odd column on the right."""
    if module.padding == "same":
        reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        around = tuple((r // 2, r - r // 2) for r in reach)
    else:
        around = tuple((p, p) for p in ((0, 0) if module.padding == "valid" else module.padding))
    mode = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}[module.padding_mode]
    weight, bias = module.weight.detach().numpy(), bias_of(module)
    return plain.Convolution(weight, bias, module.stride, around, module.dilation, module.groups, mode, name=name)


def bias_of(module: Any) -> np.ndarray:
    return np.zeros(len(module.weight)) if module.bias is None else module.bias.detach().numpy()


def pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def plain_fire(fire: Fire, name: str) -> Plain:
    expands = [
        [plain_layer(fire.expand1x1, f"{name}expand1x1"), plain_layer(nn.ReLU(), f"{name}expand1x1_activation")],
        [plain_layer(fire.expand3x3, f"{name}expand3x3"), plain_layer(nn.ReLU(), f"{name}expand3x3_activation")],
    ]
    squeeze = [plain_layer(fire.squeeze, f"{name}squeeze"), plain_layer(nn.ReLU(), f"{name}squeeze_activation")]
    return [*squeeze, plain.Cat(expands)]


def plain_squeezenet(model: SqueezeNet, name: str) -> Plain:
    return [
        *plain_of(model.features, f"{name}features"),
        *plain_of(model.classifier, f"{name}classifier"),
        plain.Flatten(),
    ]


def plain_basic_block(block: BasicBlock, name: str) -> Plain:
    shortcut: Plain = []
    if block.stride > 1:
        shortcut = [plain.EverySecond(), plain.MoreChannels(block.extra, block.extra)]
    body = [
        plain_layer(block.conv1, f"{name}conv1"),
        plain_layer(block.bn1, f"{name}bn1"),
        plain.Pointwise(function=torch.relu),
        plain_layer(block.conv2, f"{name}conv2"),
        plain_layer(block.bn2, f"{name}bn2"),
    ]
    return [plain.Add(body, shortcut), plain.Pointwise(function=torch.relu)]


def plain_resnet20(model: ResNet20, name: str) -> Plain:
    stem = [
        plain_layer(model.conv1, f"{name}conv1"),
        plain_layer(model.bn1, f"{name}bn1"),
        plain.Pointwise(function=torch.relu),
    ]
    stages = [
        plain_of(stage, f"{name}layer{n}") for n, stage in enumerate((model.layer1, model.layer2, model.layer3), 1)
    ]
    head = [plain.AdaptiveAveragePool(size=(1, 1)), plain_layer(model.linear, f"{name}linear")]
    return [*stem, *(operation for stage in stages for operation in stage), *head]


COMPOSITES: dict[type, Callable[[Any, str], Plain]] = {
    Fire: plain_fire,
    SqueezeNet: plain_squeezenet,
    BasicBlock: plain_basic_block,
    ResNet20: plain_resnet20,
}
