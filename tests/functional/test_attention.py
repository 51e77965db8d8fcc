"""Attention's shares are those that PyTorch mixes values by."""

import pytest
import torch
from torch.nn import functional

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
