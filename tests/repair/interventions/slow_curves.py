"""Curves of interventions by a literal loop: a fresh copy of the model for every image and every number of filters."""

from copy import deepcopy

import torch
from torch.nn.functional import cross_entropy


def slow_scores(model, images, labels, order, change, *, bias=False, norms=None):
    """Class scores ``(N, K + 1, C)``.

    Args:
        model: Left as it is.
        images: ``(N, ...)``.
        labels: ``(N,)``.
        order: For each image K pairs (layer, channel).
        change: From (tensor, gradient of the whole parameter, index of the channel) to nothing, in place.
        bias: Change the bias too.
        norms: Batch norm behind each layer, whose rows change too.
    """
    rows = []
    for image, label, pairs in zip(images, labels, order, strict=True):
        gradients = gradients_of(model, image[None].clone(), label[None])
        for k in range(len(pairs) + 1):
            fresh = deepcopy(model).eval()
            with torch.no_grad():
                for layer, channel in pairs[:k]:
                    names = [f"{layer}.weight", *([f"{layer}.bias"] if bias else [])]
                    if norms:
                        names += [f"{norms[layer]}.weight", f"{norms[layer]}.bias"]
                    parameters = dict(fresh.named_parameters())
                    for name in names:
                        if name in parameters:
                            change(parameters[name], gradients[name], channel)
                rows.append(fresh(image[None].clone())[0])
    return torch.stack(rows).view(len(images), -1, rows[0].shape[-1])


def gradients_of(model, image, label):
    """Gradient of the loss at the unchanged weights, by name."""
    fresh = deepcopy(model).eval()
    cross_entropy(fresh(image), label).backward()
    return {name: parameter.grad for name, parameter in fresh.named_parameters()}


def zero(parameter, _, channel):
    """Knock out."""
    parameter[channel] = 0


def step(rate):
    """One step of gradient descent."""

    def change(parameter, gradient, channel):
        parameter[channel] -= rate * gradient[channel]

    return change
