"""Small classifiers and images for treatments."""

import copy

import torch
from torch import Tensor, nn

CLASSES, CHANNELS = 3, 5


class Small(nn.Module):
    """Two convolutions with batch norm and in-place ReLU; ``features.3`` is the last convolution."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU, *, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            activations = [nn.ReLU(inplace=True) if activation is nn.ReLU else activation() for _ in range(2)]
            self.features = nn.Sequential(
                nn.Conv2d(2, 4, 3, padding=1),
                nn.BatchNorm2d(4),
                activations[0],
                nn.Conv2d(4, CHANNELS, 3, padding=1),
                activations[1],
            )
            self.classifier = nn.Linear(CHANNELS, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).mean(dim=(2, 3)))


class Linearised(Small):
    """A linear layer over every place in the place of the global pool, with a smooth activation before it."""

    def __init__(self) -> None:
        super().__init__(nn.Tanh)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.classifier = nn.Sequential(nn.Linear(CHANNELS * 16, 6), nn.Tanh(), nn.Linear(6, CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).flatten(1))


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labelled(count=24, *, seed=0, size=6):
    """Images, labels that can be learned from them, and a foreground of the left half."""
    labels = torch.arange(count) % CLASSES
    images = drawn(count, 2, size, size, seed=seed)
    images += 2 * torch.eye(CLASSES)[labels, 1:, None, None]
    foreground = torch.zeros(count, size, size)
    foreground[:, :, : size // 2] = 1
    return images, labels, foreground


def batches(*, seed=0, count=24, size=8, foreground=True):
    parts = labelled(count, seed=seed)[: 3 if foreground else 2]
    return [tuple(part[start : start + size] for part in parts) for start in range(0, count, size)]


def relevant():
    return drawn(CLASSES, CHANNELS, seed=3) > 0


def state(model):
    """Everything that a treatment must not change, as values."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return (
        {name: tensor.detach().clone() for name, tensor in tensors.items()},
        {name: (p.requires_grad, copy.copy(p.grad)) for name, p in model.named_parameters()},
        {name: module.training for name, module in model.named_modules()},
        sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()),
        torch.get_rng_state(),
    )


def same(one, other):
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, tuple):
        return all(map(same, one, other))
    return one == other
