"""Trained networks and real images from the data folder."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut without weights: every second pixel, new channels zero (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.extra = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(y + x)


class ResNet20(nn.Module):
    """He et al.'s network for CIFAR-10."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(BasicBlock(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2), BasicBlock(32, 32, 1), BasicBlock(32, 32, 1))
        self.layer3 = nn.Sequential(BasicBlock(32, 64, 2), BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def to_tensor(picture: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255
    return (pixels - MEAN) / STD


def resnet20(data: Path) -> nn.Module:
    model = ResNet20()
    model.load_state_dict(load_file(data / "models" / "cifar10_resnet20.safetensors"))
    return model.eval()


def squeezenet(data: Path) -> nn.Module:
    model = models.squeezenet1_1()
    model.load_state_dict(load_file(data / "models" / "squeezenet1_1.safetensors"))
    return model.eval()


def cifar10(data: Path, count: int, split: str = "test") -> tuple[Tensor, Tensor]:
    """Images in an order of no meaning, since the sets are sorted by class, ``(count, 3, 32, 32)``, and labels."""
    with np.load(data / "cifar10" / f"cifar10_{split}_jpeg.npz", allow_pickle=False) as archive:
        jpeg, offsets, labels = archive["jpeg"], archive["offsets"], archive["y"]
    chosen = np.random.default_rng(0).permutation(len(labels))[:count].tolist()
    pictures = [Image.open(io.BytesIO(jpeg[offsets[i] : offsets[i + 1]].tobytes())) for i in chosen]
    return torch.stack([to_tensor(p) for p in pictures]), torch.from_numpy(labels[chosen].astype(np.int64))


def imagenet(data: Path, count: int) -> tuple[Tensor, Tensor]:
    """Photos spread evenly over the set, ``(count, 3, 227, 227)``, and their labels."""
    folder = data / "imagenet_val900"
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    table = table[:: len(table) // count][:count]
    pictures = []
    for row in table:
        path = folder / "images" / row["file"]
        with Image.open(path) as picture:
            pictures.append(to_tensor(picture))
    return torch.stack(pictures), torch.tensor([int(row["label"]) for row in table])
