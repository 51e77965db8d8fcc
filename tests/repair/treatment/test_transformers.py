"""Constraints on transformers: on tokens, and on attention."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from captum_paramsal import ModelDoctor
from captum_paramsal.errors import LayerError
from captum_paramsal.repair import Constraints, treat


class SmallTransformer(nn.Module):
    """Four patches of 4 by 4 pixels and a class token, two layers of attention with two heads."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, stride=4)
        self.start = nn.Parameter(torch.randn(1, 1, 8))
        self.first = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
        self.last = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.start.expand(len(tokens), -1, -1), tokens], dim=1)
        return self.head(self.last(self.first(tokens))[:, 0])


ATTENTION = "last.self_attn"


def case():
    torch.manual_seed(0)
    model = SmallTransformer().double().eval()
    images, labels = torch.rand(12, 1, 8, 8).double(), torch.arange(12) % 3
    foreground = torch.zeros(12, 8, 8).double()
    foreground[:, :4] = 1
    return model, images, labels, foreground


def slow_attention_evidence(model, image, label):
    """A · max(0, dz / dA) of the last layer for one image, summed over queries; by hand. ``(heads, 2, 2)``."""
    tokens = model.patches(image[None]).flatten(2).transpose(1, 2)
    tokens = model.first(torch.cat([model.start, tokens], dim=1))
    layer, attention = model.last, model.last.self_attn
    normed = layer.norm1(tokens)
    query, key, value = functional.linear(normed, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    shares, mixed = [], []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        share = (query[0, :, part] @ key[0, :, part].T / 2).softmax(1)
        shares.append(share)
        mixed.append(share @ value[0, :, part])
    tokens = tokens + attention.out_proj(torch.cat(mixed, dim=1))
    tokens = tokens + layer.linear2(layer.linear1(layer.norm2(tokens)).relu())
    score = model.head(tokens[0, 0])[label]
    gradients = torch.autograd.grad(score, shares)
    evidence = [(share * gradient.clamp(min=0)).sum(0) for share, gradient in zip(shares, gradients, strict=True)]
    return torch.stack([one[1:].view(2, 2) for one in evidence]).detach()


def measured(constraints):
    """The constraints before a treatment: a strength that is not relative leaves them as they are."""
    model, images, labels, foreground = case()
    batches = [(images, labels, foreground)]
    treatment = treat(model, batches, [(images, labels)], constraints, epochs=1, learning_rate=0.0, show_progress=False)
    return treatment.history[1]


def test_attention_times_the_positive_part_of_its_gradient_in_the_background():
    model, images, labels, _ = case()
    wanted = [slow_attention_evidence(model, *pair)[:, 1].sum() for pair in zip(images, labels, strict=True)]
    found = measured(Constraints.of_attention(ATTENTION, relative=False))["space"]
    assert found == pytest.approx(float(torch.stack(wanted).mean()), rel=1e-9)
    assert found > 0


def test_heads_take_the_place_of_channels():
    model, images, labels, _ = case()
    relevant = torch.tensor([[True, False], [False, True], [True, True]])
    scores = model(images).detach()
    wrong = scores.scatter(1, labels[:, None], -torch.inf).argmax(1)
    wanted = [
        (slow_attention_evidence(model, image, y).sum((1, 2)) * ~relevant[y]).sum()
        + (slow_attention_evidence(model, image, s).sum((1, 2)) * relevant[s]).sum()
        for image, y, s in zip(images, labels, wrong, strict=True)
    ]
    constraints = Constraints.of_attention(ATTENTION, 0.0, relevant=relevant, channel=1.0, relative=False)
    assert measured(constraints)["channel"] == pytest.approx(float(torch.stack(wanted).mean()), rel=1e-9)


def test_evidence_in_tokens_is_constrained_where_model_doctor_sees_it():
    model, images, labels, foreground = case()
    maps = ModelDoctor(model, "first", noise_samples=1, noise_range=0.0).attribute(images, target=labels)
    assert maps.shape == (12, 8, 2, 2)
    wanted = float(maps[:, :, 1].sum((1, 2)).mean())
    assert measured(Constraints("first", relative=False))["space"] == pytest.approx(wanted, rel=1e-9)
    assert foreground.any()


@pytest.mark.parametrize("part", ["tokens", "attention"])
def test_a_treatment_moves_evidence_out_of_the_background(part):
    model, images, labels, foreground = case()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    constraints = Constraints("first", space=20.0) if part == "tokens" else Constraints.of_attention(ATTENTION, 20.0)
    batches = [(images, labels, foreground)]
    treatment = treat(
        model, batches, [(images, labels)], constraints, epochs=15, learning_rate=0.003, show_progress=False
    )
    spaces = [row["space"] for row in treatment.history[1:]]
    assert spaces[-1] < 0.7 * spaces[0]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_what_has_no_attention_or_no_places_is_refused_by_name():
    model, images, labels, foreground = case()
    for layer, message in (("last.linear1", "once in a forward pass, got 0 times"), ("last", "")):
        constraints = Constraints.of_attention(layer)
        if not message:
            # The whole block has one attention inside, and is as good a name for it.
            treat(model, [(images, labels, foreground)], [(images, labels)], constraints, epochs=1, show_progress=False)
            continue
        with pytest.raises(LayerError, match=message):
            treat(model, [(images, labels, foreground)], [(images, labels)], constraints, epochs=1, show_progress=False)
