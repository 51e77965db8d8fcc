"""Every form of per-sample gradients against the same gradients written out."""

import pytest
import torch
from torch import nn

from captum_paramsal.functional import fused_products, products
from captum_paramsal.functional.convolution import ConvolutionGeometry, convolution_mean_abs
from captum_paramsal.hooks import ConvolutionGradients, DenseGradients, ProductGradients
from captum_paramsal.hooks.gradients import HeadGradients, SummedGradients


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def written_out(gradients):
    return torch.stack([gradients.sample(n) for n in range(len(gradients))])


def convolution(groups=1, size=6):
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=(1, 2), dilation=(2, 1), groups=groups).double()
    inputs = drawn(3, 4, size, size)
    output = layer(inputs)
    upstream = drawn(*output.shape, seed=1)
    geometry = ConvolutionGeometry(tuple(layer.weight.shape), layer.stride, layer.padding, layer.dilation, groups)
    expected = torch.stack(
        [
            torch.autograd.grad(layer(x[None]), layer.weight, g[None])[0].flatten(1)
            for x, g in zip(inputs, upstream, strict=True)
        ]
    )
    return ConvolutionGradients(inputs, upstream, geometry), expected


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_by_each_of_its_ways(groups, monkeypatch):
    gradients, expected = convolution(groups)
    profile = expected.abs().mean(dim=2)
    torch.testing.assert_close(written_out(gradients), expected)
    torch.testing.assert_close(gradients.mean_abs(), profile)
    torch.testing.assert_close(
        convolution_mean_abs(gradients.inputs, gradients.output_gradients, gradients.geometry), profile
    )
    torch.testing.assert_close(gradients._by_products(2), profile)
    monkeypatch.setattr("captum_paramsal.hooks.gradients.COLUMN_POSITIONS", 1)
    torch.testing.assert_close(gradients.mean_abs(), profile)


@pytest.mark.slow
@pytest.mark.skipif(not products.compiler_found(), reason="no C++ compiler on this machine")
def test_convolution_fused():
    gradients, expected = convolution()
    single = ConvolutionGradients(gradients.inputs.float(), gradients.output_gradients.float(), gradients.geometry)
    with fused_products():
        torch.testing.assert_close(single.mean_abs().double(), expected.abs().mean(dim=2), rtol=1e-5, atol=0)


def test_channels_last_inputs():
    gradients, expected = convolution()
    strided = ConvolutionGradients(
        gradients.inputs.to(memory_format=torch.channels_last),
        gradients.output_gradients.to(memory_format=torch.channels_last),
        gradients.geometry,
    )
    torch.testing.assert_close(strided.mean_abs(), expected.abs().mean(dim=2))


def test_sums_are_taken_before_the_absolute_value():
    dense = DenseGradients(drawn(3, 6, 36))
    gradients, expected = convolution()
    total = gradients + dense + gradients
    assert isinstance(total, SummedGradients)
    torch.testing.assert_close(total.mean_abs(), (2 * expected + dense.values).abs().mean(dim=2))


def test_products_add_up_over_positions():
    first, second = (ProductGradients(drawn(2, 5, p, seed=p), drawn(2, 7, p, seed=p + 9)) for p in (3, 1))
    total = first + second
    assert isinstance(total, ProductGradients)
    torch.testing.assert_close(total.mean_abs(), (written_out(first) + written_out(second)).abs().mean(dim=2))


def test_heads_average_over_their_rows_and_add_map_by_map():
    maps = tuple(DenseGradients(drawn(2, 6, width, seed=width)) for width in (3, 4, 5))
    heads = HeadGradients(maps, heads=2)
    expected = torch.cat([m.values.reshape(2, 2, -1).abs().mean(dim=2) for m in maps], dim=1)
    torch.testing.assert_close(heads.mean_abs(), expected)
    torch.testing.assert_close((heads + heads).mean_abs(), 2 * expected)


def test_reading_dense_gradients_leaves_them_as_they_are():
    values = drawn(2, 3, 4)
    kept = values.clone()
    DenseGradients(values).mean_abs()
    SummedGradients((DenseGradients(values), DenseGradients(values))).mean_abs()
    assert torch.equal(values, kept)
