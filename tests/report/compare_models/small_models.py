"""Two tiny checkpoints and images that each of them partly gets wrong."""

from copy import deepcopy
from functools import cache

import torch
from report.explain.small_jobs import CLASSES
from torch import nn

from captum_paramsal.report import About, ModelComparisonSettings, compare_models
from captum_paramsal.sources import LabelledTensors

COUNT = 48


class Untraceable(nn.Module):
    """An operation without a trace-back rule."""

    def forward(self, x):
        return torch.fft.fft2(x).abs()


def checkpoints(between=None):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), between or nn.ReLU()]
    a = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 16, 3)).eval()
    b = deepcopy(a)
    with torch.no_grad():
        for parameter in b.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        b[3].weight[2] *= -3
        b[1].running_mean += 0.1
    return a, b


def labelled(a, b, name="photo <{}>.png"):
    """Every other image has the label that one of the two says; some have neither's."""
    images = torch.rand(COUNT, 3, 8, 8)
    with torch.no_grad():
        said_a, said_b = (model(images * 4 - 2).argmax(dim=1) for model in (a, b))
    labels = torch.where(torch.arange(COUNT) % 2 == 0, said_a, said_b)
    labels[::12] = 3 - said_a[::12] - said_b[::12].where(said_a[::12] != said_b[::12], (said_a[::12] + 1) % 3)
    names = [name.format(number) for number in range(COUNT)]
    return LabelledTensors(images, labels, lambda pixels: pixels * 4 - 2, names=names)


def settings(**options):
    small = {"batch_size": 16, "shared": 8, "explained": 4, "shown": 2, "steps": 2, "show_progress": False}
    return ModelComparisonSettings(**{**small, **options})


@cache
def tiny_comparison(between=None, **options):
    """Made once for equal options, since nobody changes it."""
    a, b = checkpoints(between)
    return compare_models(
        a,
        b,
        labelled(a, b),
        settings=settings(**options),
        classes=CLASSES,
        about=About(model="tiny & net", weights="before", images="noise"),
        other=About(model="tiny & net", weights="after"),
    )
