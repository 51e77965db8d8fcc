"""Small comparisons to write and to show."""

import torch
from torch import nn

from captum_paramsal.report import ComparisonSettings, compare
from captum_paramsal.sources import LabelledTensors, Skipped


def small_images(count=8, *, boxes=True):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, 12, 12, generator=generator)
    labels = torch.arange(count) % 3
    where = [torch.tensor([[2, 3, 8, 9]]) if place % 2 else torch.zeros(0, 4) for place in range(count)]
    names = [f"<photo> {place}" for place in range(count)]
    return LabelledTensors(images, labels, names=names, boxes=where if boxes else None)


def small_net():
    torch.manual_seed(0)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), head).eval()


def small_comparison(images=None, reference=None, *, checkpoint=None, classes=None, **settings):
    chosen = {"methods": ["saliency", "grad_cam", "random"], "metrics": ["deletion", "sparsity", "pointing_game"]}
    chosen |= {"show_progress": False, "batch_size": 4, "shown": 3, **settings}
    return compare(
        small_net(),
        images or small_images(),
        reference,
        settings=ComparisonSettings(**chosen),
        classes=classes or {0: "cat", 1: "dog & co"},
        checkpoint=checkpoint,
    )


class WithSkipped(LabelledTensors):
    """Images one of whose files could not be read."""

    @classmethod
    def of(cls, images):
        images.__class__ = cls
        images.skipped = [Skipped("broken.jpg", "UnidentifiedImageError")]
        return images
