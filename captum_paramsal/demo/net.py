"""The demo's classifier: a small residual network with the parts that large ones are made of."""

from __future__ import annotations

from importlib.resources import files

import torch
from safetensors.torch import load
from torch import Tensor, nn

from captum_paramsal.demo.scenes import CLASSES

MEAN, STD = 0.5, 0.25  # About those of the training images.


class ResidualBlock(nn.Module):
    """Two convolutions and a way around them, at half the resolution.

    Args:
        channels_in: Channels of the input, (N, channels_in, H, W).
        channels_out: Channels of the output, (N, channels_out, H/2, W/2).
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 1, stride=2, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.relu1 = nn.ReLU(inplace=True)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Feature maps (N, channels_in, H, W) -> (N, channels_out, H/2, W/2)."""
        change: Tensor = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(features)))))
        change += self.shortcut(features)
        output: Tensor = self.relu2(change)
        return output


class DemoNet(nn.Module):
    """Seven convolutions with BatchNorm and in-place ReLU, two residual blocks, global average pool, Linear.

    Takes `normalize`d images (N, 3, 64, 64), returns class scores (N, 8). The last feature maps,
    ``block2``, are (N, 64, 8, 8).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.block1 = ResidualBlock(16, 32)
        self.block2 = ResidualBlock(32, 64)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, len(CLASSES))

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores (N, 8) of normalized images (N, 3, 64, 64)."""
        features: Tensor = self.block2(self.block1(self.stem(inputs)))
        scores: Tensor = self.classifier(self.pool(features).flatten(1))
        return scores


def normalize(images: Tensor) -> Tensor:
    """What `DemoNet` takes, from images in [0, 1]: values around 0 with a spread around 1."""
    return (images - MEAN) / STD


def load_model() -> DemoNet:
    """The trained demo classifier on the CPU, in evaluation mode.

    >>> load_model()(normalize(torch.zeros(1, 3, 64, 64))).shape
    torch.Size([1, 8])
    """
    # On the meta device no random initial weights are drawn, so the caller's random state stays as it is.
    with torch.device("meta"):
        model = DemoNet()
    weights = load(files("captum_paramsal.demo").joinpath("demo.safetensors").read_bytes())
    model.load_state_dict(weights, assign=True)
    return model.eval()
