"""The law of a trace: what the candidates contribute to a neuron, and the bias, sum to its value times its gain.

Each candidate's contribution is what autograd says that the value owes to it: all of these operations are linear in
what is traced, with the other operand held.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from torch import nn
from torch.nn import functional

from captum_paramsal.graph import Step, TraceSettings, TraceWeights, traced_run
from captum_paramsal.graph.registry import require_rule, support
from captum_paramsal.graph.rules import contraction, convolution, linear
from captum_paramsal.graph.sites import Sites

SETTINGS = TraceSettings(
    weights=TraceWeights(), top_k=1, linear_top_k=None, places=1, active_only=False, single_place=False
)
FEW = settings(max_examples=20, deadline=None, derandomize=True)


class Applied(nn.Module):
    """A function of its inputs as a model."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def candidates_of(model, inputs):
    """The rule's candidates for all neurons of a model's last operation, with random gains, and what it traced."""
    run = traced_run(model, inputs)
    node = [node for node in run.graph.nodes if node.op.startswith("call")][-1]
    step = Step(run, node, SETTINGS, support)
    count = run.output.numel()
    gain = numbers(count, seed=1)
    image = torch.arange(count) // (count // len(run.output))
    sites = Sites(image, torch.arange(count), gain, torch.zeros(count, 4, dtype=torch.float64))
    caught = []

    def select(_, source, sites, candidates):
        caught.append((source, sites, candidates))
        return sites[:0]

    rule = require_rule(step)
    with pytest.MonkeyPatch.context() as patch:
        for module in (convolution, linear, contraction):
            patch.setattr(module, "select", select)
        rule.back(step, sites)
    ((source, _, candidates),) = caught
    torch.testing.assert_close(rule.support(step, sites), candidates.current.amax(1), rtol=1e-9, atol=1e-12)
    assert (rule.limit(step, sites) >= candidates.current.amax(1) - 1e-9).all()
    placeholders = [node for node in run.graph.nodes if node.op == "placeholder"]
    return candidates, gain, placeholders.index(source)


def assert_law(model, inputs, *, share=None, maps=False, bias=None):
    """Compare with autograd at some neurons.

    Args:
        model: One operation.
        inputs: Its inputs, of which the traced one is found.
        share: What makes the traced input's results with all else held; the model itself, unless given.
        maps: Whether a candidate stands for all places of its channel.
        bias: What is added beside the contributions, in the shape of the result.
    """
    model.double().requires_grad_(False)
    candidates, gain, number = candidates_of(model, inputs)
    traced = inputs[number].clone().requires_grad_()
    output = (share or model)(*inputs[:number], traced, *inputs[number + 1 :])
    values = output.detach() - (0 if bias is None else bias)
    torch.testing.assert_close(candidates.current.sum(1), gain * values.flatten(), rtol=1e-9, atol=1e-10)
    index = candidates.first[:, None] + candidates.steps
    for neuron in torch.randperm(output.numel(), generator=torch.Generator().manual_seed(2))[:6].tolist():
        (gradient,) = torch.autograd.grad(output.flatten()[neuron], traced, retain_graph=True)
        owed = gain[neuron] * (gradient * traced).detach()
        # Each candidate's channel, or the candidate alone.
        at = index[neuron] // traced.shape[2:].numel() if maps else index[neuron]
        owed = owed.flatten(2).sum(2).flatten() if maps else owed.flatten()
        torch.testing.assert_close(candidates.current[neuron], owed[at], rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(owed.sum(), candidates.current[neuron].sum(), rtol=1e-9, atol=1e-10)


@st.composite
def convolutions(draw, *, transposed):
    dimensions = draw(st.integers(1, 3))
    per_axis = lambda low, high: draw(st.tuples(*[st.integers(low, high)] * dimensions))  # noqa: E731
    groups = draw(st.integers(1, 3))
    kernel, stride, dilation, size = per_axis(1, 3), per_axis(1, 3), per_axis(1, 2), per_axis(1, 5)
    padding = per_axis(0, 2)
    options = {"groups": groups, "bias": draw(st.booleans())}
    channels = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    if transposed:
        extra = tuple(min(e, s - 1) for e, s in zip(per_axis(0, 2), stride, strict=True))
        layer = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dimensions - 1](
            *channels, kernel, stride, padding, extra, dilation=dilation, **options
        )
        rest = zip(size, stride, kernel, dilation, padding, extra, strict=True)
        assume(all((n - 1) * s + d * (k - 1) + 1 + e > 2 * p for n, s, k, d, p, e in rest))
    else:
        layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1](
            *channels, kernel, stride, padding, dilation, **options
        )
        rest = zip(size, kernel, dilation, padding, strict=True)
        assume(all(n + 2 * p > d * (k - 1) for n, k, d, p in rest))
    for name, parameter in layer.named_parameters():
        parameter.data = numbers(*parameter.shape, seed=len(name))
    return layer, numbers(2, channels[0], *size)


def bias_of(layer, dimensions):
    return None if layer.bias is None else layer.bias.detach().double().reshape(-1, *[1] * dimensions)


@FEW
@given(convolutions(transposed=False))
def test_convolutions(drawn):
    layer, maps = drawn
    assert_law(layer, [maps], maps=True, bias=bias_of(layer, maps.ndim - 2))


@FEW
@given(convolutions(transposed=True))
def test_transposed_convolutions(drawn):
    layer, maps = drawn
    assert_law(layer, [maps], maps=True, bias=bias_of(layer, maps.ndim - 2))


@FEW
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_linear(lead, features, outputs, has_bias):
    layer = nn.Linear(features, outputs, bias=has_bias).double()
    assert_law(layer, [numbers(*lead, features)], bias=layer.bias.detach() if has_bias else None)


@st.composite
def operands(draw):
    """Shapes that ``matmul`` takes, with dimensions of one that are broadcast."""
    batch = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    i, j, k = (draw(st.integers(1, 4)) for _ in range(3))
    thinned = [draw(st.sampled_from([size, 1])) if draw(st.booleans()) else size for size in batch]
    thinned = thinned[draw(st.integers(0, len(batch))) :] if draw(st.booleans()) else thinned
    shapes = [(*batch, i, k), (*thinned, k, j)]
    if draw(st.booleans()):
        shapes = [(*thinned, i, k), (*batch, k, j)]
    return shapes


@FEW
@given(operands(), st.booleans(), st.booleans())
def test_matmul(shapes, shares_first, dense):
    one, other = (numbers(*shape, seed=seed) for seed, shape in enumerate(shapes))
    if dense:
        assert_law(Applied(torch.matmul), [one, other])
        return
    # A softmax before it is held, wherever it stands; the operation itself comes last.
    soft = lambda a, b: torch.matmul(a.softmax(-1), b) if shares_first else torch.matmul(a, b.softmax(-1))  # noqa: E731
    model = Applied(soft)
    candidates, _, number = candidates_of(model, [one, other])
    assert number == int(shares_first)
    assert candidates.current.shape[1] == one.shape[-1]
    assert_law(model, [one, other])


EQUATIONS = {
    "bhij,bhjd->bhid": ((2, 3, 4, 5), (2, 3, 5, 2)),
    "bjhd,bhij->bihd": ((2, 5, 3, 2), (2, 3, 4, 5)),
    "...ij,...jd->...id": ((2, 3, 4, 5), (2, 3, 5, 2)),
    "...ij,jd": ((2, 3, 4, 5), (5, 2)),
    "bi,bj->bij": ((2, 3), (2, 4)),
    "bijk,bjk->bi": ((2, 3, 4, 5), (2, 4, 5)),
    "bij,bji->b": ((2, 3, 4), (2, 4, 3)),
    "nchw,nhw->nc": ((2, 3, 4, 5), (2, 4, 5)),
    "bii,bi->bi": ((2, 3, 3), (2, 3)),
    "bc...,bc->b...": ((2, 3, 4, 5), (2, 3)),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation):
    one, other = (numbers(*shape, seed=seed) for seed, shape in enumerate(EQUATIONS[equation]))
    assert_law(Applied(lambda a, b: torch.einsum(equation, a, b)), [one, other])


def test_bmm_and_its_kind():
    one, other = numbers(4, 2, 3), numbers(4, 3, 5, seed=1)
    assert_law(Applied(torch.bmm), [one, other])
    assert_law(Applied(lambda a, b: a @ b), [one, other])
    added = numbers(4, 2, 5, seed=2)
    model = Applied(lambda a, b: torch.baddbmm(added, a, b, alpha=0.5))
    assert_law(model, [one, other], bias=added)


@FEW
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=2),
    st.tuples(*[st.integers(1, 4)] * 4),
    st.sampled_from([None, "added", "kept", "causal"]),
    st.sampled_from([None, 0.3]),
)
def test_attention(lead, sizes, mask, scale):
    queries, keys, width, features = sizes
    q, k, v = (
        numbers(*lead, queries, width),
        numbers(*lead, keys, width, seed=1),
        numbers(*lead, keys, features, seed=2),
    )
    options = {"scale": scale}
    if mask == "added":
        options["attn_mask"] = numbers(queries, keys, seed=3)
    if mask == "kept":
        options["attn_mask"] = numbers(queries, keys, seed=3) > 0
        options["attn_mask"][:, 0] = True
    if mask == "causal":
        options["is_causal"] = True
    model = Applied(lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, **options))
    assert candidates_of(model, [q, k, v])[2] == 2
    assert_law(model, [q, k, v])


@FEW
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_sums_of_windows(windows, kernel, stride, padding):
    size = tuple((n - 1) * s + k - 2 * p for n, k, s, p in zip(windows, kernel, stride, padding, strict=True))
    assume(min(size) > 0)
    values = numbers(2, 3 * kernel[0] * kernel[1], windows[0] * windows[1])
    model = Applied(lambda x: functional.fold(x, size, kernel, padding=padding, stride=stride))
    run = traced_run(model, [values])
    step = Step(run, [node for node in run.graph.nodes if node.op.startswith("call")][-1], SETTINGS, support)
    count = run.output.numel()
    gain = numbers(count, seed=1)
    images = torch.arange(count) // (count // 2)
    sites = Sites(images, torch.arange(count), gain, torch.zeros(count, 4, dtype=torch.float64))
    rule = require_rule(step)
    seen = rule.seen(step, sites)
    summands = torch.where(seen.inside, values.flatten()[seen.index], 0.0)
    torch.testing.assert_close(summands.sum(1).view_as(run.output), run.output)
    # A place that no window reaches has nothing behind it.
    reached = seen.inside.any(1)
    largest = torch.where(seen.inside, summands * gain[:, None], -torch.inf).amax(1)
    torch.testing.assert_close(rule.support(step, sites)[reached], largest[reached])
    ((_, found),) = rule.back(step, sites[reached])
    torch.testing.assert_close((found.values(values) * found.gain), largest[reached])
