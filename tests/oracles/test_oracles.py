"""The oracles agree with each other, with a calculation by hand and with NumPy."""

import numpy as np
import pytest
import torch
from cases.images import CASES
from oracles.deviation import assert_exact, assert_rounding, rounding_error
from oracles.parameter_saliency import filter_slices, moments, profile_loop, profile_vmap, standardize
from torch import nn

# What torch.func cannot do, or does with a warning: the loop stands alone there.
BEYOND_VMAP = {
    "sequence first", "sequence first, as long as the batch", "encoder", "experts per image", "experts per token",
    "checkpointed", "two inputs", "cross attention, padded, no bias",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CASES if name not in BEYOND_VMAP])
def test_loop_equals_vmap(name):
    example = CASES[name]()
    other_road = profile_vmap(example.model, example.inputs, example.target, example.layers)
    assert_exact(name, other_road, example.oracle())


@pytest.mark.parametrize("name", CASES)
def test_the_loop_on_one_forward_pass_equals_the_loop(name):
    example = CASES[name]()
    assert_exact(name, example.oracle(one_forward=True), example.oracle())


def test_loop_equals_a_calculation_by_hand():
    # One 1x1 convolution of one pixel and the identity behind it: d loss / d w[o, i] = (p_o - 1[o = y]) x_i.
    model = nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), nn.Flatten()).double()
    x = torch.tensor([[0.5, -2.0], [3.0, 0.25]]).double()
    y = torch.tensor([2, 0])
    p = (x @ model[0].weight[:, :, 0, 0].T).softmax(dim=1)
    expected = (p - nn.functional.one_hot(y, 3)).abs() * x.abs().mean(dim=1, keepdim=True)
    got = profile_loop(model, x[:, :, None, None], y, ["0"])["0"]
    torch.testing.assert_close(got, expected.detach(), rtol=1e-12, atol=0)


def test_head_scores_are_means_over_the_rows_of_a_head():
    attention = nn.MultiheadAttention(6, 3, batch_first=True).double()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention
            self.head = nn.Linear(6, 2).double()

        def forward(self, x):
            return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))

    model, x = Net(), torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(0)).double()
    got = profile_loop(model, x, torch.tensor([1]), ["attention"])["attention"]
    loss = nn.functional.cross_entropy(model(x), torch.tensor([1]))
    (gradient,) = torch.autograd.grad(loss, attention.in_proj_weight)
    by_hand = gradient.abs().reshape(3, 3, 2, 6).mean((2, 3)).flatten()  # Q, K, V; heads; rows of a head; inputs
    torch.testing.assert_close(got[0], by_hand, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("groups", "inputs", "outputs"), [(1, 3, 4), (2, 4, 6), (4, 4, 4)])
def test_the_slices_of_a_transposed_convolution_feed_their_own_channel(groups, inputs, outputs):
    layer = nn.ConvTranspose2d(inputs, outputs, 3, groups=groups)
    x = torch.randn(1, inputs, 4, 4, generator=torch.Generator().manual_seed(0))
    for channel in range(outputs):
        (gradient,) = torch.autograd.grad(layer(x)[:, channel].square().sum(), layer.weight)
        touched = [n for n, piece in enumerate(filter_slices(layer, [gradient])) if piece.any()]
        assert touched == [channel]


def test_moments_equal_numpy():
    profiles = torch.randn(50, 7, generator=torch.Generator().manual_seed(1)).double().exp() * 1e-3
    mean, std = moments(profiles)
    np.testing.assert_allclose(mean, profiles.numpy().mean(0), rtol=1e-13)
    np.testing.assert_allclose(std, profiles.numpy().std(0, ddof=1), rtol=1e-12)


def test_a_dead_filter_scores_like_the_lowest_living_one():
    profiles = torch.tensor([[1.0, 0.0, 5.0], [3.0, 0.0, 1.0]])
    scores = standardize(profiles, *moments(profiles))
    assert scores[:, 1].tolist() == scores[:, [0, 2]].min(dim=1).values.tolist()


def test_deviations_name_layer_and_model():
    oracle = {"shallow": torch.full((2, 3), 1e6).double(), "deep": torch.full((2, 3), 1e-6).double()}
    scores = {name: tensor.clone() for name, tensor in oracle.items()}
    assert_exact("net", scores, oracle)
    scores["deep"][1, 2] *= 1 + 1e-8
    with pytest.raises(AssertionError, match=r"net: 1 of 2 layers .* deep: 1e-08"):
        assert_exact("net", scores, oracle)
    with pytest.raises(AssertionError, match="net, layer deep: expected zeros"):
        assert_exact("net", scores, {**oracle, "deep": torch.zeros(2, 3).double()})
    with pytest.raises(AssertionError, match="worst layer deep"):
        assert_rounding("net", scores, [oracle], oracle, epsilon=1e-12)
    assert rounding_error(scores, oracle) == pytest.approx(1e-8 / 12**0.5)
