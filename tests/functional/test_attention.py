"""Attention's shares are those that PyTorch mixes values by."""

from itertools import pairwise, product

import pytest
import torch
from torch.nn import functional

from captum_paramsal.functional import attention_relevance, attention_rollout
from captum_paramsal.functional.attention import attention_shares


def numbers(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"scale": 0.3},
        {"is_causal": True},
        {"attn_mask": numbers(2, 3, 5, 5)},
        {"attn_mask": numbers(2, 3, 5, 5) > -1},
    ],
    ids=["plain", "scale", "causal", "added mask", "bool mask"],
)
def test_values_are_mixed_as_pytorch_does(given):
    query, key, value = numbers(2, 3, 5, 4), numbers(2, 3, 5, 4) * 2, numbers(2, 3, 5, 7)
    names = {"attn_mask": "mask", "is_causal": "causal", "scale": "scale"}
    shares = attention_shares(query, key, **{names[name]: one for name, one in given.items()})
    torch.testing.assert_close(shares @ value, functional.scaled_dot_product_attention(query, key, value, **given))
    torch.testing.assert_close(shares.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64))


def mixed(count, layers=3, heads=2, tokens=4):
    return [numbers(count, heads, tokens, tokens + layer)[..., :tokens].softmax(-1) for layer in range(layers)]


def test_rollout_is_the_sum_over_all_ways_through_the_layers():
    shares = mixed(2)
    expected = torch.zeros(2, 4, 4, dtype=torch.float64)
    for image in range(2):
        for way in product(range(4), repeat=4):
            part = 1.0
            for layer, (source, end) in zip(shares, pairwise(way), strict=True):
                mean = sum(float(layer[image, head, end, source]) for head in range(2)) / 2
                part *= (mean + (source == end)) / 2
            expected[image, way[-1], way[0]] += part
    found = attention_rollout(shares)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 4, dtype=torch.float64))


def test_relevance_is_the_sum_over_all_ways_that_attention_takes_at_least_once():
    shares = mixed(2)
    gradients = [numbers(2, 2, 4, 4 + layer)[..., :4] for layer in range(3)]
    expected = torch.zeros(2, 4, 4, dtype=torch.float64)
    for image in range(2):
        for way in product(range(4), repeat=4):
            for by_attention in product((False, True), repeat=3):
                part = float(any(by_attention))
                for layer, (source, end) in enumerate(pairwise(way)):
                    if by_attention[layer]:
                        useful = (shares[layer] * gradients[layer])[image, :, end, source].clamp(min=0)
                        part *= float(useful.mean())
                    else:
                        part *= source == end
                expected[image, way[-1], way[0]] += part
    torch.testing.assert_close(attention_relevance(shares, gradients), expected)
