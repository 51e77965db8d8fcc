"""Tokens laid out for PyTorch's attention: nothing but the order in memory is another one."""

import pytest
import torch
from torch import nn

from captum_paramsal.hooks import tokens_in_one_piece


class Watched(nn.Module):
    """Attention that notes what it was given."""

    def __init__(self, *, batch_first=True):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.given = None

    def note(self, _, args, kwargs):
        self.given = args, kwargs

    def forward(self, *args, **kwargs):
        return self.attention(*args, **kwargs)[0]


def run(model, *args, **kwargs):
    torch.manual_seed(0)
    with tokens_in_one_piece(model):
        model.attention.register_forward_pre_hook(model.note, with_kwargs=True)
        return model(*args, **kwargs)


def test_tokens_are_in_one_piece_once_they_are_transposed():
    model, tokens = Watched(), torch.randn(3, 5, 8)
    run(model, tokens, tokens, tokens)
    query, key, value = model.given[0]
    assert query.transpose(0, 1).is_contiguous()
    assert query is key is value
    assert torch.equal(query, tokens)


@pytest.mark.parametrize("named", [False, True])
def test_the_result_is_the_same(named):
    model = Watched().double()
    query, other = torch.randn(3, 5, 8).double(), torch.randn(3, 6, 8).double()
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[:, 4:] = True
    args, kwargs = ((), {"query": query, "key": other, "value": other}) if named else ((query, other, other), {})
    kwargs["key_padding_mask"] = mask
    torch.testing.assert_close(run(model, *args, **kwargs), model(*args, **kwargs))
    assert model.given[1]["key_padding_mask"] is mask


def test_tokens_that_come_first_are_left_alone():
    model, tokens = Watched(batch_first=False), torch.randn(5, 3, 8)
    run(model, tokens, tokens, tokens)
    assert model.given[0][0] is tokens


def test_a_single_sequence_is_left_alone():
    model, tokens = Watched(), torch.randn(5, 8)
    run(model, tokens, tokens, tokens)
    assert model.given[0][0] is tokens


def test_no_hook_is_left():
    model = nn.Sequential(nn.MultiheadAttention(8, 2, batch_first=True))
    with tokens_in_one_piece(model):
        assert model[0]._forward_pre_hooks
    assert not model[0]._forward_pre_hooks
