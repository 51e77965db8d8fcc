"""Shares of attention, watched while a model runs."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks import attention_layers, watched_attention, watched_shares


class Own(nn.Module):
    """Attention over tokens ``(N, T, 8)`` in one of its spellings."""

    def __init__(self, spelling):
        super().__init__()
        self.spelling = spelling
        self.qkv = nn.Linear(8, 24)

    def forward(self, tokens):
        query, key, value = self.qkv(tokens).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        if self.spelling == "fused":
            mixed = functional.scaled_dot_product_attention(query, key, value)
        elif self.spelling == "method":
            mixed = (query @ key.transpose(-2, -1) / 2).softmax(-1) @ value
        else:
            mixed = torch.softmax(query @ key.transpose(-2, -1) / 2, dim=-1) @ value
        return mixed.transpose(1, 2).flatten(2)


class Torchs(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention, self.options = nn.MultiheadAttention(8, 2, batch_first=True), options

    def forward(self, tokens):
        return self.attention(tokens, tokens, tokens, **self.options)[0]


class Around(nn.Module):
    def __init__(self, mixer):
        super().__init__()
        self.mixer, self.head = mixer, nn.Linear(8, 3)

    def forward(self, tokens):
        return self.head(self.mixer(tokens).mean(1))


MIXERS = {
    "fused": (lambda: Own("fused"), "mixer"),
    "method": (lambda: Own("method"), "mixer"),
    "function": (lambda: Own("function"), "mixer"),
    "PyTorch's": (lambda: Torchs(need_weights=False), "mixer.attention"),
    "PyTorch's with weights": (Torchs, "mixer.attention"),
}


def around(name):
    torch.manual_seed(0)
    make, layer = MIXERS[name]
    return Around(make()).double().eval(), layer, torch.randn(3, 5, 8).double()


@pytest.mark.parametrize("name", MIXERS)
def test_the_scores_are_the_same_and_the_shares_sum_to_one(name):
    model, layer, tokens = around(name)
    before = model(tokens)
    with watched_shares(model, layer) as shares:
        torch.testing.assert_close(model(tokens), before)
    assert shares.latest.shape == (3, 2, 5, 5)
    torch.testing.assert_close(shares.latest.sum(-1), torch.ones(3, 2, 5).double())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", MIXERS)
def test_gradients_with_respect_to_shares_are_those_of_finite_differences(name):
    model, layer, tokens = around(name)
    with watched_shares(model, layer) as shares:
        score = model(tokens)[:, 1].sum()
    (gradient,) = torch.autograd.grad(score, shares.latest)
    # The values are the projection's last third, in heads; the score is linear in the shares.
    projection = model.mixer.qkv if hasattr(model.mixer, "qkv") else None
    weight, bias = (
        (projection.weight, projection.bias)
        if projection
        else (model.mixer.attention.in_proj_weight, model.mixer.attention.in_proj_bias)
    )
    value = functional.linear(tokens, weight[16:], bias[16:]).unflatten(-1, (2, 4))  # (N, S, heads, 4)
    out = nn.Identity() if projection else model.mixer.attention.out_proj
    direction = model.head.weight[1] if projection else model.head.weight[1] @ out.weight
    wanted = torch.einsum("nshd,hd->nhs", value, direction.view(2, 4))[:, :, None].expand(3, 2, 5, 5) / 5
    torch.testing.assert_close(gradient, wanted)


def test_a_layer_without_attention_and_one_with_two_are_refused():
    model, _, tokens = around("fused")
    with watched_shares(model, "head") as shares:
        model(tokens)
    with pytest.raises(LayerError, match=r"'head' to mix tokens by attention once in a forward pass, got 0 times"):
        _ = shares.latest
    model.mixer = nn.Sequential(Own("fused"), Own("method")).double()
    with watched_shares(model, "mixer"), pytest.raises(LayerError, match="got 2 times"):
        model(tokens)
    assert not model.mixer._forward_hooks


def test_a_pass_that_fails_leaves_no_mode_behind():
    model, layer, tokens = around("fused")
    with watched_shares(model, layer), pytest.raises(RuntimeError, match="shape"):
        model(tokens[..., :3])
    # Outside of it, functions are called as ever.
    assert torch.overrides._len_torch_function_stack() == 0


def test_attention_layers_are_the_innermost_that_attend():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, batch_first=True), 2, enable_nested_tensor=False)
    model = nn.Sequential(encoder, nn.Linear(8, 3))
    assert attention_layers(model) == ("0.layers.0.self_attn", "0.layers.1.self_attn")
    assert attention_layers(nn.Sequential(nn.Conv2d(1, 1, 1))) == ()


def test_several_layers_are_watched_at_once():
    model = nn.Sequential(Torchs(need_weights=False), Torchs()).double().eval()
    tokens = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0)).double()
    with watched_attention(model, ("0.attention", "1.attention")) as watched:
        result = model(tokens)
    for layer, shares in zip(model, watched, strict=True):
        expected = layer.attention(tokens, tokens, tokens, average_attn_weights=False)[1]
        torch.testing.assert_close(shares.latest, expected)
        tokens = layer(tokens)
    torch.testing.assert_close(result, tokens)
    assert all(gradient is not None for gradient in torch.autograd.grad(result.sum(), [s.latest for s in watched]))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
