"""Families of Hugging Face: exact against autograd, in a batch and alone; pixels; by name; state unchanged."""

from __future__ import annotations

import pytest
import torch
from cases.hugging_face import FAMILIES, classifier
from contract.snapshot import nothing_left_behind
from torch import nn
from torch.nn.functional import cross_entropy

import captum_paramsal as cp
from captum_paramsal.repair import fine_tune_step

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2)).double()
TARGETS = torch.tensor([0, 3, 4])
QUICK = ("ViT", "ResNet")
TYPES = [nn.Conv2d, nn.Linear]

families = pytest.mark.parametrize(
    "family", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)


def slow_profile(model, layers):
    """Each image run twice: one alone would meet a fault of torch's own in batch norm."""
    rows = []
    for image, target in zip(IMAGES, TARGETS, strict=True):
        logits = model(torch.stack([image, image])).logits
        loss = cross_entropy(logits[:1], target[None])
        weights = [model.get_submodule(name).weight for name in layers]
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        parts = [
            torch.zeros(len(weight), dtype=weight.dtype) if gradient is None else gradient.abs().flatten(1).mean(1)
            for weight, gradient in zip(weights, gradients, strict=True)
        ]
        rows.append(torch.cat(parts))
    return torch.stack(rows)


@families
def test_a_family_is_exact(family):
    model = classifier(family)
    saliency = cp.ParameterSaliency(model, layers=TYPES)
    with nothing_left_behind(model, IMAGES):
        given = saliency.attribute(IMAGES, TARGETS)
    expected = slow_profile(model, saliency.filters.layers)
    largest = float(expected.max())
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-10 * largest)
    alone = torch.cat([saliency.attribute(IMAGES[n : n + 1], TARGETS[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(alone, expected, rtol=0, atol=1e-10 * largest)
    by_name = saliency.attribute({"pixel_values": IMAGES}, TARGETS, {"return_dict": True})
    torch.testing.assert_close(by_name, expected, rtol=0, atol=1e-10 * largest)


@families
def test_pixels_of_a_family(family):
    model = classifier(family)
    maps = cp.InputSpaceSaliency(cp.ParameterSaliency(model, layers=TYPES), top_k=3).attribute(IMAGES, TARGETS)
    assert maps.shape == IMAGES.shape
    assert maps.isfinite().all()
    assert maps.abs().amax((1, 2, 3)).min() > 0


@families
def test_doors_of_a_family(family):
    """The layers of the default, a reference, tails, and a step."""
    model = classifier(family)
    many = torch.randn(60, 3, 32, 32, generator=torch.Generator().manual_seed(3)).double()
    batches = [{"pixel_values": many[:30], "labels": torch.arange(30) % 5}, (many[30:], torch.arange(30) % 5)]
    reference = cp.Reference.fit(model, batches, tail=0.5, show_progress=False)
    tails = cp.POTSaliency(model, reference)
    scores = tails.attribute(IMAGES, TARGETS)
    assert scores.isfinite().all()
    before = model(IMAGES).logits
    with fine_tune_step(model, tails.filters.top(scores, 2)[0], IMAGES, TARGETS, learning_rate=1.0):
        assert not model(IMAGES).logits.equal(before)
    assert model(IMAGES).logits.equal(before)


def test_a_classifier_of_texts():
    """Token ids and a mask by name: rows of query, key and value."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, num_labels=3
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.BertForSequenceClassification(config).double().eval()
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]])
    texts = transformers.BatchEncoding({"input_ids": torch.arange(14).reshape(2, 7) + 3, "attention_mask": mask})
    targets = torch.tensor([0, 2])
    saliency = cp.ParameterSaliency(model, layers=["*.query", "*.key", "*.value"])
    given = saliency.attribute(texts, targets)
    assert saliency.filters.layers[0] == "bert.encoder.layer.0.attention.self.query"
    expected = []
    for n in range(2):
        logits = model(input_ids=texts["input_ids"][n : n + 1], attention_mask=mask[n : n + 1]).logits
        weights = [model.get_submodule(name).weight for name in saliency.filters.layers]
        gradients = torch.autograd.grad(cross_entropy(logits, targets[n : n + 1]), weights)
        expected.append(torch.cat([gradient.abs().mean(1) for gradient in gradients]))
    torch.testing.assert_close(given, torch.stack(expected), rtol=0, atol=1e-14)
    positional = saliency.attribute(texts["input_ids"], targets, mask)
    torch.testing.assert_close(positional, given)
    with pytest.raises(cp.InputError, match="Expected floating-point `inputs`, which have gradients"):
        cp.InputSpaceSaliency(saliency, top_k=2).attribute(texts, targets)
