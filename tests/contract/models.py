"""Networks that the contract is tried on; importable, so that they can be pickled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Boom(Exception):
    """Raised by the parts below; nothing else raises it."""


class SmallNet(nn.Module):
    """Convolutions, one of them grouped; batch normalisation, dropout and activations in place; five classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False)
        self.relu2 = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.conv1(x)))
        x = self.dropout(self.relu2(self.conv2(x)))
        return self.fc(self.flat(self.pool(x)))


class ReusedNet(nn.Module):
    """One convolution called twice, with activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.shared = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        x = self.relu(self.shared(x))
        x = self.relu(self.shared(x))
        return self.fc(self.flat(self.pool(x)))


class TwoInputNet(nn.Module):
    """Two images, a factor per image, a number, a switch and a place for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3)
        self.right = nn.Conv2d(2, 4, 3)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor, y: Tensor, factor: Tensor, power: int = 1, *options: Any) -> Tensor:
        switch, nothing = (*options, *(True, None)[len(options) :])
        assert nothing is None
        assert len(factor) == len(x), f"{len(factor)} factors for {len(x)} images"
        x = self.left(x).relu().mean((2, 3)) * factor[:, None]
        y = self.right(y).tanh().mean((2, 3)) ** power
        return self.fc(x + y if switch else x - y)


class DenseNet(nn.Module):
    """Five class scores at every place, ``(N, 5, H, W)``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1)
        self.scores = nn.Conv2d(6, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.conv2(self.conv1(x).relu()).relu())


class TokenNet(nn.Module):
    """Whole numbers in, five classes out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.conv = nn.Conv1d(4, 6, 3)
        self.fc = nn.Linear(6, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc(self.conv(self.embedding(tokens).transpose(1, 2)).relu().mean(2))


class CountingNet(SmallNet):
    """Counts its calls in buffers, one written in place and one replaced, and keeps its last features in a third."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("replaced", torch.zeros(()))
        self.register_buffer("last", None)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.replaced = self.replaced + 1
        self.last = x.detach().clone()
        return super().forward(x)


class DrawingNet(SmallNet):
    """Draws from the global random stream in every forward pass, also in evaluation mode."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0 * torch.rand(1).to(x)


class Raising(nn.Module):
    """Passes its input on; raises in its forward or backward pass when told to, at the n-th call."""

    def __init__(self, where: str, at_call: int = 1, error: type[BaseException] = Boom) -> None:
        super().__init__()
        self.where, self.error = where, error
        self.left = [at_call]  # counted in a list: an attribute that the model changes itself is not ours to put back

    def raise_at_last(self) -> None:
        self.left[0] -= 1
        if self.left[0] <= 0:
            message = "on purpose"
            raise self.error(message)

    def forward(self, x: Tensor) -> Tensor:
        if self.where == "forward":
            self.raise_at_last()
        if self.where == "function":
            return RaisesBackward.apply(x, self)
        if self.where == "hook" and x.requires_grad:
            x.register_hook(lambda _: self.raise_at_last())
        return x


class RaisesBackward(torch.autograd.Function):
    """The identity, until its gradient is asked for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Raising) -> Tensor:
        ctx.layer = layer
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ctx.layer.raise_at_last()
        return gradients[0], None


class RaisingNet(SmallNet):
    """``SmallNet`` with a :class:`Raising` between its two convolutions."""

    def __init__(self, where: str, at_call: int = 1, error: type[BaseException] = Boom) -> None:
        super().__init__()
        self.trap = Raising(where, at_call, error)

    def forward(self, x: Tensor) -> Tensor:
        x = self.trap(self.relu(self.bn(self.conv1(x))))
        return self.fc(self.flat(self.pool(self.dropout(self.relu2(self.conv2(x))))))
