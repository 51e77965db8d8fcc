"""A tiny network and images that it partly gets wrong, for tests of reports."""

from functools import cache

import torch
from torch import nn

from captum_paramsal.report import About, ExplainSettings, explain
from captum_paramsal.sources import LabelledTensors

CLASSES = {0: "cat", 1: "dog", 2: "<b>axolotl</b>"}


def tiny_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def tiny_images(count: int = 24, seed: int = 1) -> LabelledTensors:
    """Labels are the network's answers, every fourth of them turned into a mistake."""
    torch.manual_seed(seed)
    images = torch.rand(count, 3, 12, 12)
    with torch.no_grad():
        labels = tiny_net()(images - 0.5).argmax(dim=1)
    labels[::4] = (labels[::4] + 1) % 3
    names = [f"photo {i}.png" for i in range(count)]
    notes = ["in <the> dark" if i == 0 else "" for i in range(count)]
    return LabelledTensors(images, labels, lambda x: x - 0.5, names=names, notes=notes)


@cache
def tiny_explanation(**options):
    """Made once for equal options, since nobody changes it; ``tiny_explanation.__wrapped__`` makes another."""
    about = About(model="tiny & net", weights="seed 0", images="noise")
    given = {"images": options.pop("images", None) or tiny_images(), "reference": options.pop("reference", None)}
    settings = ExplainSettings(**{"top_k": 4, "batch_size": 5, "exemplars": 0, "show_progress": False, **options})
    return explain(tiny_net(), **given, settings=settings, classes=CLASSES, about=about)


def untraced_explanation(**options):
    """The same without traces, whose figures take most of the time."""
    return tiny_explanation(**{"traces": False, **options})
