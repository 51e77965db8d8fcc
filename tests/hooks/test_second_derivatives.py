"""Pixel maps of networks with any function that the library offers: twice differentiable, and right."""

import pytest
import torch
from cases.images import image
from oracles.weights import seeded
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torchvision import ops

from captum_paramsal import InputSpaceSaliency, ParameterSaliency
from captum_paramsal.errors import ModelError
from captum_paramsal.hooks import SecondDerivatives, feature_maps
from captum_paramsal.repair import space_constraint


class Applied(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def network(function):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 12, 3), Applied(function), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.LazyLinear(3),
    ).double()  # fmt: skip
    model(image(2, 3, 10, 10))
    return seeded(model, image(8, 3, 10, 10))


def maps(function):
    saliency = InputSpaceSaliency(ParameterSaliency(network(function), layers=nn.Conv2d), top_k=4)
    return saliency.attribute(image(3, 3, 10, 10), target=torch.tensor([0, 1, 2]))


def shuffled(x):
    return torch.cat([x[:, k::4] for k in range(4)], dim=1)


@pytest.mark.parametrize(
    ("function", "written_out"),
    [
        (functional.hardsigmoid, lambda x: (x + 3).clamp(0, 6) / 6),
        (lambda x: functional.hardsigmoid(x.clone(), inplace=True), lambda x: (x + 3).clamp(0, 6) / 6),
        (nn.Hardsigmoid(), lambda x: (x + 3).clamp(0, 6) / 6),
        (functional.hardswish, lambda x: x * (x + 3).clamp(0, 6) / 6),
        (functional.relu6, lambda x: x.clamp(0, 6)),
        (lambda x: functional.prelu(x, x.new_full((12,), 0.2)), lambda x: torch.where(x > 0, x, 0.2 * x)),
        (functional.gelu, lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2),
        (functional.silu, lambda x: x * x.sigmoid()),
        (lambda x: torch.native_channel_shuffle(x, 3), shuffled),
        (lambda x: functional.channel_shuffle(x, 3), shuffled),
        (lambda x: functional.interpolate(x, scale_factor=2),
            lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    ],
    ids=[
        "hard-sigmoid", "in place", "module", "hard-swish", "ReLU6", "PReLU", "GELU", "SiLU", "native shuffle",
        "shuffle", "upsampling",
    ],
)  # fmt: skip
def test_as_written_out(function, written_out):
    torch.testing.assert_close(maps(function), maps(written_out), rtol=1e-9, atol=1e-12)


def attention(x):
    tokens = x.flatten(2).transpose(1, 2)
    return functional.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).unflatten(2, (6, 6))


@pytest.mark.parametrize(
    "function",
    [
        functional.celu, functional.elu, functional.hardshrink, functional.hardtanh, functional.leaky_relu,
        functional.logsigmoid, functional.mish, functional.selu, functional.softplus, functional.softshrink,
        functional.softsign, functional.tanhshrink, lambda x: functional.gelu(x, approximate="tanh"),
        lambda x: functional.glu(x, 1), lambda x: functional.threshold(x, 0.1, 0.0), attention,
        lambda x: functional.interpolate(x, size=9, mode="bilinear"),
        lambda x: functional.interpolate(x, size=9, mode="bicubic"),
        lambda x: functional.interpolate(x, size=9, mode="area"), lambda x: functional.lp_pool2d(x, 2, 2),
        lambda x: functional.pixel_shuffle(x, 2), lambda x: functional.pixel_unshuffle(x, 2),
        lambda x: functional.local_response_norm(x, 3), lambda x: functional.rms_norm(x, (6,)),
        lambda x: functional.adaptive_max_pool2d(x, 2), lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"),
        lambda x: torch.cdist(x, x.flip(1)), lambda x: torch.fft.rfft2(x).abs(),
    ],
    ids=lambda f: getattr(f, "__name__", ""),
)  # fmt: skip
def test_has_a_map(function):
    try:
        result = maps(function)
    except NotImplementedError as error:
        if torch.__version__ >= "2.8":
            raise
        pytest.skip(f"this version of PyTorch lacks it: {error}")
    assert torch.isfinite(result).all()
    assert (result != 0).flatten(1).any(dim=1).all()


@pytest.mark.parametrize("inplace", [False, True])
def test_first_and_second_derivative_of_hard_sigmoid(inplace):
    x = torch.linspace(-5, 5, 40, dtype=torch.double, requires_grad=True)
    (plain,) = torch.autograd.grad(functional.hardsigmoid(x).square().sum(), x)
    with SecondDerivatives():
        y = functional.hardsigmoid(x.clone(), inplace=inplace)
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    torch.testing.assert_close(first, plain, rtol=0, atol=2e-8)  # the library divides by a float32 6
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(second, torch.where(x.abs() < 3, 2 / 36, 0).to(x))


class Once(Function):
    """A square whose author says that its gradient has no derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: ops.roi_align(x, [x.new_tensor([[0, 0, 4, 4]])] * len(x), 3), "roi_align, whose gradient has no"),
        (Once.apply, "a function marked with `once_differentiable`, whose gradient has no derivative"),
    ],
    ids=["roi_align", "once"],
)
def test_functions_without_a_second_derivative_are_named(function, name):
    with pytest.raises(ModelError, match=f"that can be differentiated twice, got one with {name}"):
        maps(function)


def test_constraints_behind_a_function_without_a_second_derivative():
    """Its part in the gradient would count as constant, and the constraint would act on less than it says."""
    model, x = network(Once.apply), image(3, 3, 10, 10)
    with feature_maps(model, "2") as seen:
        scores = model(x)
    with pytest.raises(ModelError, match="got one with a function marked with `once_differentiable`"):
        space_constraint(scores, seen.latest, torch.tensor([0, 1, 2]), torch.zeros(3, 10, 10))


@pytest.mark.parametrize(
    "norm",
    [
        nn.LayerNorm(8), nn.LayerNorm([6, 8, 8]), nn.LayerNorm(8, elementwise_affine=True, bias=False),
        nn.InstanceNorm2d(6, affine=True), nn.BatchNorm2d(6, track_running_stats=False), nn.BatchNorm2d(6),
        nn.GroupNorm(2, 6),
    ],
    ids=str,
)  # fmt: skip
def test_maps_of_norms_know_their_statistics(norm):
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), norm, nn.Tanh(), nn.Conv2d(6, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    ).double().eval()  # fmt: skip
    images, labels = image(3, 3, 10, 10), torch.tensor([0, 1, 2])
    found = InputSpaceSaliency(ParameterSaliency(model, layers="1"), top_k=2).attribute(images, labels)
    torch.testing.assert_close(found, loop_of_maps(model, [norm.weight], images, labels))


class SameConv2d(nn.Conv2d):
    """A convolution that calls the function itself, as those of TensorFlow's ports do."""

    def forward(self, x):
        return functional.conv2d(functional.pad(x, (1, 1, 1, 1)), self.weight, self.bias)


def test_maps_know_convolutions_that_are_functions():
    model = nn.Sequential(
        SameConv2d(3, 6, 3), nn.Tanh(), nn.Conv2d(6, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    ).double().eval()  # fmt: skip
    images, labels = image(3, 3, 10, 10), torch.tensor([0, 1, 2])
    for layers, weights in ((["0"], [model[0].weight]), (None, [model[0].weight, model[2].weight])):
        found = InputSpaceSaliency(ParameterSaliency(model, layers=layers), top_k=2).attribute(images, labels)
        torch.testing.assert_close(found, loop_of_maps(model, weights, images, labels))


def loop_of_maps(model, weights, images, labels):
    """Gradient of the similarity to a profile with two filters boosted, image by image."""
    rows = []
    for one, label in zip(images, labels, strict=True):
        leaf = one[None].clone().requires_grad_()
        loss = functional.cross_entropy(model(leaf), label[None])
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        profile = torch.cat([gradient.reshape(len(gradient), -1).abs().mean(1) for gradient in gradients])
        boosted = profile.detach().clone()
        boosted[boosted.topk(2).indices] *= 100
        rows.append(torch.autograd.grad(functional.cosine_similarity(profile, boosted, dim=0), leaf)[0])
    return torch.cat(rows)
