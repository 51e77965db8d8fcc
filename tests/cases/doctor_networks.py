"""Networks whose rest, behind a layer, is hard to run for many copies at once: each a function of one image."""

from __future__ import annotations

from typing import Any

import torch
from cases.networks import Classifier
from cases.tracing_networks import Branches, Residual, conv, conv_bn, fire, gap
from torch import Tensor, nn
from torch.nn import functional as F


class ShortcutWrittenOver(Classifier):
    """The sum is written over the layer's own output, which has been used before."""

    def __init__(self) -> None:
        super().__init__(4)
        self.stem = nn.Conv2d(2, 4, 3)
        self.layer = nn.Conv2d(4, 4, 3, padding=1)
        self.after = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.stem(x)
        x = self.layer(shortcut * 0.5)
        y = self.after(x * 2).tanh()
        x += shortcut
        x.relu_()
        shortcut.add_(y)
        return self.classify((x * shortcut).tanh())


class ResultIgnored(Classifier):
    """A module is called for what it does to its input."""

    def __init__(self) -> None:
        super().__init__(4)
        self.stem = nn.Conv2d(2, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.layer = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        self.relu(x)
        y = self.layer(x * 1)
        before = y * 2
        self.relu(y)
        return self.classify((x + y * before).tanh())


class SizesBefore(nn.Module):
    """Sizes are read before the layer and used behind it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.layer = nn.Conv2d(2, 4, 3)
        self.head = nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        count, shape = x.size(0), x.shape
        places = (x.size(2) - 2) * (shape[3] - 2)
        start = x.new_zeros(count, 36)
        each = torch.arange(count)
        y = self.layer(x).tanh()
        ways = {
            "view": lambda: y.view(count, -1),
            "reshape": lambda: y.reshape(shape[0], 4 * places),
            "length": lambda: y.reshape(len(x), -1),
            "zeros": lambda: start + y.flatten(1),
            "rows": lambda: y[each].flatten(1),
            "expand": lambda: y.flatten(1) * torch.linspace(1, 2, 36, dtype=x.dtype).expand(count, 36),
            "split": lambda: torch.cat(y.split(2, dim=1), 1).unflatten(1, (2, 2)).reshape(count, places * 4),
        }
        return self.head(ways[self.way]().sin())


class Functional(nn.Module):
    """A functional classifier; with as many images as classes, its parameters look like values of images."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 4, 3)
        self.weight = nn.Parameter(torch.randn(classes, 4))
        self.bias = nn.Parameter(torch.randn(classes))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / self.weight.norm(dim=1, keepdim=True)  # before the layer, and (classes, 4)
        x = self.layer(x).relu().mean((2, 3))
        return F.linear(x, weight) + F.linear(x, self.weight, self.bias)


class NotOfImages(Classifier):
    """Values made before the layer that hold nothing of any image; ``size`` is a first dimension to be mistaken."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.channels = nn.Parameter(torch.randn(size))
        self.grid = nn.Parameter(torch.randn(size, 5, 5))
        self.rows = nn.Parameter(torch.randn(5, 1))
        self.layer = nn.Conv2d(2, size, 3)

    def forward(self, x: Tensor) -> Tensor:
        scale, grid, rows = self.channels.exp()[:, None, None], self.grid.tanh(), self.rows.sigmoid()
        step, mask = 1 / x.shape[2], torch.ones(5, 5, dtype=torch.bool).tril()
        mixing = self.channels[:, None] * self.channels / 4
        x = self.layer(x) * scale + grid * rows
        x = torch.where(mask, x, x * step).tanh()
        return self.classify(torch.einsum("nkhw,kl->nlhw", x, mixing).sin())


class MadeOfSizes(Classifier):
    """A line as long as the picture is high, and no line of any picture; with as many pictures it looks like one."""

    def __init__(self, *, of_ones: bool = False) -> None:
        super().__init__(4)
        self.of_ones = of_ones
        self.layer = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        ones = torch.ones_like(x[0, 0, :, 0])
        line = ones.cumsum(0) / 7 if self.of_ones else torch.linspace(0, 1, x.shape[2]).to(x)
        x = self.layer(x).tanh().mean((2, 3))
        return self.head((x[:, :, None] * line).sum(2))


class ImagesInOtherDimensions(Classifier):
    """What goes around the layer carries the images in its second or last dimension, or folded with the channels."""

    def __init__(self, way: str) -> None:
        super().__init__(4)
        self.way = way
        self.around = nn.Conv2d(2, 4, 3)
        self.layer = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        around = self.around(x)
        if self.way == "second":
            around = around.transpose(0, 1)
            return self.classify(torch.einsum("nkhw,knhw->nkhw", self.layer(x), around).tanh())
        if self.way == "last":
            around = around.permute(1, 2, 3, 0)
            return self.classify(torch.einsum("nkhw,khwn->nkhw", self.layer(x), around).tanh())
        around = around.flatten(0, 1)
        return self.classify((self.layer(x).flatten(0, 1) * around).unflatten(0, (-1, 4)).tanh())


class PerImageAround(Classifier):
    """Per image and around the layer: a number, a gate, a whole map of another size, an integer."""

    def __init__(self) -> None:
        super().__init__(4)
        self.stem = nn.Conv2d(2, 4, 3)
        self.layer = nn.Conv2d(4, 4, 3)
        self.register_buffer("table", torch.linspace(0.5, 2, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).tanh()
        number = x.mean((1, 2, 3))
        gate = x.amax((2, 3), keepdim=True).sigmoid()
        which = (x[:, 0, 0, 0] > 0).long()
        x = self.layer(x) * gate + F.interpolate(x, scale_factor=0.5)[:, :, :1, :1]
        x = x * self.table[which].view(-1, 1, 1, 1) + number.view(-1, 1, 1, 1)
        return self.classify(x.tanh())


class TwoPictures(Classifier):
    """Two pictures, a number per image and a plain number; the layer sees one of them."""

    def __init__(self) -> None:
        super().__init__(4)
        self.left = nn.Conv2d(2, 4, 3)
        self.right = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor, y: Tensor, scale: Tensor, power: int = 1) -> Tensor:
        x = self.left(x).tanh() * scale[:, None, None, None]
        return self.classify((x * self.right(y).mean((2, 3), keepdim=True)) ** power)


class Unclear(Classifier):
    """Which way it goes depends on values, and which on the images one by one: nothing that a graph could show."""

    def __init__(self) -> None:
        super().__init__(4)
        self.stem = nn.Conv2d(2, 4, 3)
        self.layer = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(self.stem(x).relu())
        if bool((x > 1e6).any()):
            x = x.clamp(max=1e6)
        return self.classify(torch.stack([image.tanh() if image.sum() > 0 else image.sin() for image in x]))


class ClassScores(nn.Module):
    """Ends in a convolution whose channels are, or seem to be, the class scores."""

    def __init__(self, ending: str, *, kernel: int = 1, bias: bool = True, groups: int = 1, classes: int = 4) -> None:
        super().__init__()
        self.ending = ending
        self.features = nn.Sequential(*conv(2, 6), *conv(6, 8, padding=1))
        self.drop = nn.Dropout()
        self.scores = nn.Conv2d(8, classes, kernel, padding=kernel // 2, bias=bias, groups=groups)
        self.more = nn.Conv2d(8, classes, 1)
        self.norm = nn.BatchNorm2d(classes)
        self.group_norm = nn.GroupNorm(2, classes)
        self.prelu = nn.PReLU(classes)
        self.linear = nn.Linear(classes, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.features(x))
        s = self.scores(x)
        endings = {
            "pool": lambda: F.adaptive_avg_pool2d(s, 1).flatten(1),
            "relu, pool": lambda: F.adaptive_avg_pool2d(s.relu(), 1).flatten(1),
            "in place": lambda: F.relu_(s).mean((2, 3)),
            "max pool": lambda: F.adaptive_max_pool2d(s, 1).flatten(1),
            "squeeze": lambda: F.avg_pool2d(s, s.shape[2:]).squeeze(3).squeeze(2),
            "batch norm": lambda: self.norm(s).mean((2, 3)),
            "prelu": lambda: self.prelu(s).mean((2, 3)),
            "scaled": lambda: s.mean((2, 3)) * self.linear.bias + 0.5,
            "torch": lambda: torch.flatten(F.adaptive_avg_pool2d(F.relu(s, inplace=True), (1, 1)), 1),
            # From here on one class's score needs other channels than its own, or classes are not channels.
            "all places": lambda: torch.flatten(s, 1),
            "two by two": lambda: torch.flatten(F.adaptive_avg_pool2d(torch.relu(s), 2), 1),
            "softmax of places": lambda: s.softmax(dim=1).mean((2, 3)),
            "softmax of scores": lambda: s.mean((2, 3)).log_softmax(dim=1),
            "less the mean": lambda: (s - s.mean(1, keepdim=True)).tanh().mean((2, 3)),
            "group norm": lambda: self.group_norm(s).relu().mean((2, 3)),
            "other order": lambda: s.flip(1).relu().mean((2, 3)),
            "rolled": lambda: s.mean((2, 3)).roll(1, dims=1),
            "all but the first": lambda: s[:, 1:].mean((2, 3)),
            "gated": lambda: (s * s.mean((2, 3), keepdim=True).flip(1).sigmoid()).mean((2, 3)),
            "twice": lambda: s.mean((2, 3)) + self.scores(x.sin()).mean((2, 3)),
            "two layers": lambda: (s * self.more(x)).mean((2, 3)),
            "side by side": lambda: torch.cat([s, self.more(x)], 1).mean((2, 3)),
            "above each other": lambda: torch.cat([s, self.more(x)], 2).tanh().mean((2, 3)),
            "linear": lambda: self.linear(s.mean((2, 3))),
            "normalized": lambda: F.normalize(s.mean((2, 3)), dim=1),
            "places": lambda: s.sum(1).flatten(1)[:, :4],
            "a map of scores": s.tanh,
        }
        return endings[self.ending]()


ENDINGS = (
    *("pool", "relu, pool", "in place", "max pool", "squeeze", "batch norm", "prelu", "scaled", "torch"),
    *("all places", "two by two", "softmax of places", "softmax of scores", "less the mean", "group norm"),
    *("other order", "rolled", "all but the first", "gated", "twice", "two layers", "side by side"),
    *("above each other", "linear", "normalized", "places"),
)


class FunctionalDense(nn.Module):
    """DenseNet's ending: functional ReLU and pool behind ``features``."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*conv_bn(2, 4), Grown(4, 3), Grown(7, 3), nn.BatchNorm2d(10))
        self.classifier = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class Grown(nn.Module):
    """The input's channels, and new ones beside them."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.new = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, growth, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], 1)


class Block(nn.Module):
    """ResNet's: one ReLU module called twice, the sum written over the second batch norm's output."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


class SmallResNet(nn.Module):
    """Stem, two stages, pool, ``torch.flatten``, Linear, under torchvision's names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(4, 4), Block(4, 4))
        self.layer2 = nn.Sequential(Block(4, 6, 2), Block(6, 6))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class SmallVGG(nn.Module):
    """``features``, an adaptive pool to 2 x 2, ``classifier`` with hidden layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *conv(2, 4, padding=1), nn.MaxPool2d(2, 2), *conv(4, 6, padding=1), nn.MaxPool2d(2, 2)
        )
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(nn.Linear(24, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class SmallSqueezeNet(nn.Module):
    """``features``, and a ``classifier`` of dropout, convolution, ReLU and global pool."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*conv(2, 4), nn.MaxPool2d(3, 2, ceil_mode=True), *fire(4, 2, 3), *fire(6, 3, 4))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Conv2d(8, 4, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


class SmallGoogLeNet(nn.Module):
    """Branches side by side, one module each, then pool, dropout, Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(2, 4))
        self.inception1 = four_branches(4)
        self.pool = nn.MaxPool2d(2)
        self.inception2 = four_branches(9)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inception2(self.pool(self.inception1(self.stem(x))))
        return self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))


def four_branches(inputs: int) -> nn.Module:
    return Branches(
        nn.Sequential(*conv_bn(inputs, 3, 1)),
        nn.Sequential(*conv_bn(inputs, 2, 1), *conv_bn(2, 2, padding=1)),
        nn.Sequential(*conv_bn(inputs, 2, 1), *conv_bn(2, 2, padding=1)),
        nn.Sequential(nn.MaxPool2d(3, 1, 1), *conv_bn(inputs, 2, 1)),
    )


class MeanHead(nn.Module):
    """ShuffleNet's ending: ``conv5``, then the mean as a method."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*conv_bn(2, 4))
        self.stage2 = nn.Sequential(Residual(nn.Conv2d(4, 4, 3, padding=1)))
        self.conv5 = nn.Sequential(*conv_bn(4, 7, 1))
        self.fc = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv5(self.stage2(self.conv1(x))).mean([2, 3]))


class TwoMaps(nn.Module):
    """Returns two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Any:
        x = self.conv(x)
        return x, x.tanh()


class WithBadLayers(nn.Module):
    """One layer of every kind that has no maps to diagnose, and one that has."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = TwoMaps()
        self.twice = nn.Conv2d(4, 4, 1)
        self.good = nn.Conv2d(4, 4, 1)
        self.never = nn.Conv2d(4, 4, 1)
        self.flat = nn.Flatten(2)
        self.vector = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x, y = self.pair(x)
        x = self.good(self.twice(self.twice(x) + y).relu())
        return self.vector(self.flat(x).mean(2))


def straight(*, in_place: bool = True) -> nn.Sequential:
    """Two convolutions, each with an activation behind it, then the global average and a classifier."""
    body = [nn.Conv2d(2, 5, 3), nn.ReLU(in_place), nn.Conv2d(5, 4, 3), nn.ReLU(in_place)]
    return nn.Sequential(*body, *gap(4))
