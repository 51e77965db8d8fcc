"""A network whose scores are its inputs, with one filter that is wrong."""

import torch
from torch import nn

CLASSES = 4


def network(fault=2):
    """Four filters, each of one class; the weight of one of them is negative."""
    model = nn.Sequential(
        nn.Conv2d(CLASSES, CLASSES, 1, bias=False),
        nn.BatchNorm2d(CLASSES, eps=0.0),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(CLASSES, CLASSES, bias=False),
    ).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(CLASSES)[:, :, None, None])
        model[4].weight.copy_(4 * torch.eye(CLASSES))
        if fault is not None:
            model[0].weight[fault] *= -1
    return model


def images(count, seed=0):
    """Images in which the class's own channel is bright, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    inputs = 0.3 * torch.rand(count, CLASSES, 2, 2, generator=generator)
    inputs[torch.arange(count), labels] += 0.7
    return inputs, labels
