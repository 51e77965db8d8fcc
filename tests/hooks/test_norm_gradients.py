"""A batch of one gives what the same image gives in a batch of two, whatever layout a gradient has at a norm."""

import pytest
import torch
from cases.images import image
from oracles.weights import seeded
from torch import nn
from torch.nn import functional

from captum_paramsal import InputSpaceSaliency, ModelDoctor, ParameterSaliency


class Functional(nn.BatchNorm2d):
    """A batch norm with a forward pass of its own, as libraries have them."""

    def forward(self, x):
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class Tokens(nn.Module):
    """Maps that are normed, then read as tokens and averaged."""

    def __init__(self, norm, pooled):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 16, 3, padding=1), norm, nn.Linear(16, 4)
        self.pooled = pooled

    def forward(self, x):
        tokens = self.norm(self.conv(x).tanh()).flatten(2).transpose(1, 2)
        return self.head(self.pooled(tokens))


NORMS = {
    "batch norm": lambda: nn.BatchNorm2d(16),
    "its function": lambda: Functional(16),
    "batch statistics": lambda: nn.BatchNorm2d(16, affine=False),
    "instance norm": lambda: nn.InstanceNorm2d(16, affine=True),
    "group norm": lambda: nn.GroupNorm(4, 16),
}
POOLS = {
    "mean": lambda tokens: tokens.mean(1),
    "token": lambda tokens: tokens[:, 3].sin(),
    "weighted": lambda tokens: (tokens * tokens.cos()).mean(1),
    "all but one": lambda tokens: tokens[:, 1:].square().mean(1),
}
METHODS = {
    "scores": lambda model, x, y: ParameterSaliency(model).attribute(x, target=y),
    "pixels": lambda model, x, y: InputSpaceSaliency(ParameterSaliency(model), top_k=3).attribute(x, target=y),
    "evidence": lambda model, x, y: ModelDoctor(model, "conv", noise_samples=0).attribute(x, target=y),
}


def cases():
    """Every norm with every pool; the scores of all, and of the other methods each norm and each pool with one."""
    for row, norm in enumerate(NORMS):
        for column, pool in enumerate(POOLS):
            for number, method in enumerate(METHODS):
                if (norm, pool) == ("instance norm", "mean") and method != "evidence":
                    # The mean over what an instance norm returns is its offset: no filter has a gradient but rounding.
                    continue
                slowly = method != "scores" and (row + column + number) % len(POOLS) != 0
                yield pytest.param(norm, pool, method, marks=[pytest.mark.slow] * slowly)


@pytest.mark.parametrize(("norm", "pool", "method"), list(cases()))
def test_one_image_is_scored_as_in_a_batch(norm, pool, method):
    model = seeded(Tokens(NORMS[norm](), POOLS[pool]).double(), image(8, 3, 4, 4))
    x, y = image(2, 3, 4, 4), torch.tensor([1, 2])
    both, alone = METHODS[method](model, x, y), METHODS[method](model, x[:1], y[:1])
    torch.testing.assert_close(alone[0], both[0], rtol=1e-9, atol=1e-12 * float(both.abs().max()))


def test_behind_the_mean_of_an_instance_norm_is_only_rounding():
    model = seeded(Tokens(NORMS["instance norm"](), POOLS["mean"]).double(), image(8, 3, 4, 4))
    x, y = image(2, 3, 4, 4), torch.tensor([1, 2])
    both, alone = METHODS["scores"](model, x, y), METHODS["scores"](model, x[:1], y[:1])
    torch.testing.assert_close(both, torch.zeros_like(both), rtol=0, atol=1e-15)
    torch.testing.assert_close(alone, torch.zeros_like(alone), rtol=0, atol=1e-15)
