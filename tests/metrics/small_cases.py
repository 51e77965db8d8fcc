"""A small classifier whose layers keep the size of the images, and cases on it."""

import torch
from torch import nn

from captum_paramsal.metrics import Case, InputMaps, SharedPasses


def small_model(channels=3, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [
            nn.Conv2d(channels, 5, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(5, 6, 3, padding=1),
            nn.Tanh(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 4),
        ]
        return nn.Sequential(*layers).to(dtype).eval()


def some_images(count=3, channels=3, size=(8, 10), dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, channels, *size, generator=generator, dtype=torch.float64)
    return images.to(dtype), torch.arange(count) % 4


def case_of(method, model=None, count=3, **known):
    model = small_model() if model is None else model
    images, targets = some_images(count)
    return Case.of(model, method, images, targets, **known)


def case_with(maps, model=None, **known):
    """A case whose maps are given."""
    images, targets = some_images(len(maps))
    known = {"model": model or small_model(), "images": images, "targets": targets, **known}
    full = maps.to(known["images"]).expand(known["images"].shape).contiguous()
    return Case(maps=full, explain=InputMaps(lambda images: images), shared=SharedPasses(), **known)
