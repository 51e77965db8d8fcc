"""A single logit is a binary classifier; a loss of one's own decides what a target may be."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from captum_paramsal import CNNFixations, InputSpaceSaliency, ModelDoctor, ParameterSaliency, Reference, compare
from captum_paramsal.errors import TargetError


def network(outputs):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, outputs)]
    return nn.Sequential(*layers).double().eval()


X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
YES = torch.tensor([1, 0, 1, 0])


def loop(model, loss, targets):
    rows = []
    weight = model[0].weight.requires_grad_(True)
    for n in range(len(X)):
        (gradient,) = torch.autograd.grad(loss(model(X[n : n + 1]), targets[n : n + 1]).sum(), weight)
        rows.append(gradient.abs().flatten(1).mean(1))
    return torch.stack(rows)


def binary(logits, labels):
    return functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits), reduction="none")


def test_a_single_logit_is_a_binary_classifier():
    model = network(1)
    wanted = loop(model, binary, YES)
    torch.testing.assert_close(ParameterSaliency(model).attribute(X, target=YES), wanted)
    torch.testing.assert_close(ParameterSaliency(model, loss=binary).attribute(X, target=YES), wanted)
    predicted = (model(X)[:, 0] > 0).long()
    torch.testing.assert_close(ParameterSaliency(model).attribute(X), loop(model, binary, predicted))
    assert not Reference.fit(model, [(X, YES)], tail=None, show_progress=False).dead.any()
    assert InputSpaceSaliency(ParameterSaliency(model), top_k=2).attribute(X, target=YES).any()
    # What has no loss takes the one score as it is.
    assert ModelDoctor(model, "0", noise_samples=1).attribute(X, target=0).any()
    assert CNNFixations(model).trace(X).labels.tolist() == [0] * 4
    with pytest.raises(TargetError, match="from 0 to 1, got 2"):
        ParameterSaliency(model).attribute(X, target=2)


def test_a_single_logit_under_the_metrics():
    comparison = compare(
        ["saliency", "random"], network(1).float(), X.float(), YES, metrics=["deletion"], show_progress=False
    )
    means = [row["mean"] for row in comparison.table() if row["metric"] == "deletion"]
    assert all(0 < mean < 1 for mean in means)


def test_several_labels_each():
    def several(logits, labels):
        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits), reduction="none").sum(1)

    model, labels = network(3), torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    wanted = loop(model, several, labels)
    saliency = ParameterSaliency(model, loss=several)
    for given in (labels, labels.double(), labels.numpy(), labels.tolist()):
        torch.testing.assert_close(saliency.attribute(X, target=given), wanted)
    torch.testing.assert_close(saliency.attribute(X, target=labels, internal_batch_size=3), wanted)
    reference = Reference.fit(model, [(X, labels)], loss=several, tail=None, show_progress=False)
    torch.testing.assert_close(reference.mean, wanted.mean(0))


@pytest.mark.parametrize("outputs", [1, 2])
def test_numbers(outputs):
    def squared(scores, numbers):
        return (scores - numbers.to(scores).reshape(len(scores), -1)).square().sum(1)

    model, numbers = network(outputs), torch.randn(4, generator=torch.Generator().manual_seed(1)).double()
    numbers = numbers if outputs == 1 else torch.stack([numbers, -numbers], dim=1)
    wanted = loop(model, squared, numbers)
    saliency = ParameterSaliency(model, loss=squared)
    for given in (numbers, numbers.numpy().astype(np.float64)):
        torch.testing.assert_close(saliency.attribute(X, target=given), wanted)


def test_a_target_that_the_loss_does_not_take():
    saliency = ParameterSaliency(network(3), loss=lambda logits, labels: (logits - labels.to(logits)).square().sum(1))
    with pytest.raises(
        TargetError, match=r"that the loss .* takes, got torch.float32 of shape \(4, 2\) for scores \(4, 3\)"
    ):
        saliency.attribute(X, target=torch.zeros(4, 2))
    with pytest.raises(TargetError, match=r"one row for each of 4 examples, got shape \(3, 3\)"):
        saliency.attribute(X, target=torch.zeros(3, 3))
    with pytest.raises(TargetError, match="one class per example"):
        ParameterSaliency(network(3)).attribute(X, target=torch.zeros(4))
