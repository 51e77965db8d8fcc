"""Every geometry of a convolution: equal to the batch-of-one loop."""

import pytest
import torch
from cases.networks import Around
from cases.scores import scores_of
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from oracles.deviation import assert_exact
from oracles.parameter_saliency import profile_loop
from oracles.weights import seeded
from torch import nn

from captum_paramsal.attr import ParameterSaliency
from captum_paramsal.functional import cross_entropy

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
examples = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def per_axis(low, high, axes):
    return st.tuples(*[st.integers(low, high)] * axes)


@st.composite
def convolutions(draw):
    """A convolution and the shape of a batch that it takes."""
    axes = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    inputs, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel, dilation = draw(per_axis(1, 3, axes)), draw(per_axis(1, 2, axes))
    padding = draw(st.one_of(per_axis(0, 2, axes), st.sampled_from(["same", "valid"])))
    stride = (1,) * axes if padding == "same" else draw(per_axis(1, 3, axes))
    mode = draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"]))
    size = draw(per_axis(3, 7, axes))
    span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if isinstance(padding, tuple):
        around = [(p, p) for p in padding]
    else:
        around = [((s - 1) // 2, s // 2) if padding == "same" else (0, 0) for s in span]
    assume(all(n + left + right >= s for n, (left, right), s in zip(size, around, span, strict=True)))
    limit = {"reflect": 1, "circular": 0}.get(mode)
    if limit is not None:  # a reflection needs fewer pixels than there are, a circle no more
        assume(all(max(sides) <= n - limit for n, sides in zip(size, around, strict=True)))
    layer = CONVOLUTION[axes](
        inputs, outputs, kernel, stride, padding, dilation, groups, bias=draw(st.booleans()), padding_mode=mode
    )
    return layer, (draw(st.integers(1, 3)), inputs, *size)


@st.composite
def transposed_convolutions(draw):
    axes = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    inputs, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel, dilation = draw(per_axis(1, 3, axes)), draw(per_axis(1, 3, axes))
    stride, padding = draw(per_axis(1, 3, axes)), draw(per_axis(0, 2, axes))
    output_padding = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    size = draw(per_axis(1, 4, axes))
    axis = zip(size, kernel, stride, padding, dilation, output_padding, strict=True)
    assume(all((n - 1) * s - 2 * p + d * (k - 1) + op + 1 >= 1 for n, k, s, p, d, op in axis))
    layer = TRANSPOSED[axes](
        inputs, outputs, kernel, stride, padding, output_padding, groups, draw(st.booleans()), dilation
    )
    return layer, (draw(st.integers(1, 3)), inputs, *size)


def check(layer, shape, channels):
    model = seeded(Around(layer, channels).double())
    x = torch.randn(shape, generator=torch.Generator().manual_seed(5)).double()
    y = torch.arange(len(x)) % 3
    name = f"{layer} on {tuple(shape)}"
    assert_exact(name, scores_of(model, x, y, "layer"), profile_loop(model, x, y, ["layer"]))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@examples
@given(convolutions())
def test_convolutions(drawn):
    layer, shape = drawn
    check(layer, shape, layer.out_channels)


@examples
@given(transposed_convolutions())
def test_transposed_convolutions(drawn):
    layer, shape = drawn
    check(layer, shape, layer.out_channels)


@examples
@given(st.integers(1, 4), st.lists(st.integers(1, 4), max_size=3), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_linear(images, places, inputs, outputs, bias):
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(inputs, outputs, bias=bias)
            self.head = nn.Linear(outputs, 3)

        def forward(self, x):
            x = self.layer(x).tanh()
            weights = torch.linspace(1, 2, x[0].numel() // outputs, dtype=x.dtype)[:, None]
            return self.head((x.reshape(len(x), -1, outputs) * weights).mean(dim=1))

    model = seeded(Rows().double())
    x = torch.randn(images, *places, inputs, generator=torch.Generator().manual_seed(5)).double()
    y = torch.arange(images) % 3
    name = f"{model.layer} on {tuple(x.shape)}"
    assert_exact(name, scores_of(model, x, y, nn.Linear), profile_loop(model, x, y, ["layer", "head"]))


@pytest.mark.parametrize("factor", [1e-6, 0.5, 1e6])
def test_scores_are_proportional_to_the_loss(factor):
    model = seeded(Around(nn.Conv2d(2, 3, 3), 3).double())
    x, y = torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(5)).double(), torch.tensor([0, 2])
    plain = ParameterSaliency(model).attribute(x, target=y)
    scaled = ParameterSaliency(model, loss=lambda z, t: -factor * cross_entropy(z, t)).attribute(x, target=y)
    torch.testing.assert_close(scaled, factor * plain, rtol=1e-9, atol=0)


# What a uniform draw seldom meets, each once.
CORNERS = {
    "depthwise": lambda: (nn.Conv2d(6, 6, 3, padding=1, groups=6), (3, 6, 5, 5)),
    "depthwise multiplied": lambda: (nn.Conv2d(4, 12, 3, stride=2, groups=4), (3, 4, 7, 7)),
    "kernel as large as the image": lambda: (nn.Conv2d(3, 5, 6), (3, 3, 6, 6)),
    "stride that leaves pixels over": lambda: (nn.Conv2d(3, 5, 3, stride=4), (3, 3, 9, 10)),
    "even kernel, same padding": lambda: (nn.Conv2d(3, 4, (4, 2), padding="same", dilation=(1, 3)), (2, 3, 6, 7)),
    "same padding, circular, even kernel": lambda: (
        nn.Conv2d(3, 4, 4, padding="same", padding_mode="circular"), (2, 3, 6, 6)
    ),
    "same padding, reflected": lambda: (
        nn.Conv1d(3, 4, 5, padding="same", dilation=2, padding_mode="reflect"), (2, 3, 9)
    ),
    "padding wider than the kernel": lambda: (nn.Conv2d(2, 3, 1, padding=3), (2, 2, 4, 4)),
    "pointwise, strided": lambda: (nn.Conv2d(8, 4, 1, stride=2), (3, 8, 5, 5)),
    "pointwise, grouped": lambda: (nn.Conv2d(8, 4, 1, groups=4), (3, 8, 5, 5)),
    "pointwise, one pixel": lambda: (nn.Conv2d(8, 4, 1), (3, 8, 1, 1)),
    "wide": lambda: (nn.Conv2d(64, 96, 3, padding=1), (2, 64, 4, 4)),
    "large map, few channels": lambda: (nn.Conv2d(3, 8, 7, stride=2, padding=3), (2, 3, 64, 64)),
    "one channel": lambda: (nn.Conv2d(1, 1, 3), (2, 1, 5, 5)),
    "three dimensions, grouped, strided": lambda: (
        nn.Conv3d(4, 6, (1, 3, 2), stride=(2, 1, 2), padding=(0, 1, 1), groups=2), (2, 4, 3, 5, 6)
    ),
    "transposed, depthwise, dilated": lambda: (
        nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1, groups=4, dilation=2), (2, 4, 4, 4)
    ),
    "transposed, more outputs": lambda: (nn.ConvTranspose1d(2, 6, 4, stride=3, groups=2), (3, 2, 4)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("corner", CORNERS)
def test_corners(corner):
    layer, shape = CORNERS[corner]()
    check(layer, shape, layer.out_channels)


def test_sixteen_images_at_once():
    layer = nn.Conv2d(12, 20, 3, padding=1, groups=2)
    check(layer, (16, 12, 6, 6), 20)
