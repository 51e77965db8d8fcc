import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import conv2d, pad

from captum_paramsal.errors import InputError
from captum_paramsal.viz import decoded, display_map, new_axes, pixel_overlay, pixel_plot, to_png


def _gradients(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def _as_in_the_paper(gradients):
    """Levin et al.'s display form, step by step in NumPy; the blur is that of OpenCV for 3 x 3."""
    flat = np.abs(gradients.numpy().astype(np.float64).max(axis=0))
    low, high = np.percentile(flat, [90, 99])
    stretched = (np.clip(flat, low, high) - low) / (high - low)
    kernel = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64) / 4
    padded = pad(torch.from_numpy(stretched)[None, None], (1, 1, 1, 1), mode="replicate")
    return conv2d(padded, torch.outer(kernel, kernel)[None, None])[0, 0].float()


@pytest.mark.parametrize("shape", [(3, 40, 30), (1, 33, 17), (5, 7, 7)])
def test_display_form_of_the_paper(shape):
    gradients = _gradients(*shape)
    torch.testing.assert_close(display_map(gradients), _as_in_the_paper(gradients))


def test_the_signed_maximum_comes_before_the_absolute_value():
    gradients = torch.zeros(3, 9, 9)
    gradients[:, 4, 4] = torch.tensor([-9.0, 1.0, 0.0])
    gradients[:, 0, 0] = -2.0
    heat = display_map(gradients)
    assert heat[0, 0] > heat[4, 4] > 0


def test_every_map_of_a_batch_has_its_own_scale():
    gradients = _gradients(3, 3, 16, 16) * torch.tensor([1.0, 1e-30, 1e20])[:, None, None, None]
    maps = display_map(gradients)
    assert maps.shape == (3, 16, 16)
    for one, heat in zip(gradients, maps, strict=True):
        torch.testing.assert_close(display_map(one), heat, rtol=0, atol=0)
        torch.testing.assert_close(display_map(one * 0.5), heat)


@pytest.mark.parametrize(
    "gradients",
    [
        torch.zeros(3, 8, 8),
        torch.full((3, 8, 8), -2.5),
        -_gradients(3, 8, 8).abs(),
        _gradients(1, 1, 1),
        _gradients(2, 3, 1, 9),
        _gradients(3, 8, 8).bfloat16(),
        _gradients(3, 8, 8).double().requires_grad_(),
    ],
    ids=["zero", "constant", "negative", "one pixel", "one row", "bfloat16", "attached"],
)
def test_any_finite_map_can_be_shown(gradients):
    heat = display_map(gradients)
    assert heat.shape == gradients.shape[:-3] + gradients.shape[-2:]
    assert heat.dtype == torch.float32
    assert 0 <= heat.min() <= heat.max() <= 1


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_what_is_the_same_everywhere_does_not_stand_out(value):
    assert display_map(torch.full((3, 12, 12), value)).count_nonzero() == 0


def test_a_single_pixel_is_seen():
    gradients = torch.zeros(1, 50, 50)
    gradients[0, 20, 30] = -1e-6
    heat = display_map(gradients)
    assert heat[20, 30] == heat.max() > 0


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        (torch.full((3, 2, 2), torch.nan), "NaN or infinity in 12 of 12"),
        (torch.tensor([[[1.0, torch.inf]]]), "NaN or infinity in 1 of 2"),
        (torch.zeros(8, 8), r"got \(8, 8\)"),
        (torch.zeros(3, 0, 8), r"got \(3, 0, 8\)"),
    ],
)
def test_what_is_no_map(gradients, message):
    with pytest.raises(InputError, match=message):
        display_map(gradients)


@pytest.mark.parametrize("channels", [1, 3])
def test_overlay_glows_where_the_map_does_and_is_grey_elsewhere(channels):
    gradients = torch.zeros(3, 20, 20)
    gradients[:, 5:9, 5:9] = 1.0
    overlay = pixel_overlay(torch.full((channels, 20, 20), 0.8), gradients)
    assert overlay.shape == (3, 20, 20)
    quiet, glowing = overlay[:, 15, 15], overlay[:, 6, 6]
    assert quiet.tolist() == pytest.approx([0.4] * 3)
    assert glowing[0] - glowing[2] > 0.3
    assert 0 <= overlay.min() <= overlay.max() <= 1


def test_maps_of_another_resolution_are_fitted_to_the_image():
    gradients = torch.zeros(1, 64, 64)
    gradients[:, :32, :32] = _gradients(1, 32, 32)
    overlay = pixel_overlay(torch.zeros(3, 16, 16), gradients)
    assert overlay[:, :8, :8].sum() > 100 * overlay[:, 9:, 9:].sum()


@pytest.mark.parametrize(
    ("image", "gradients", "message"),
    [
        (torch.zeros(2, 8, 8), torch.zeros(3, 8, 8), r"image of shape \(1 or 3, H, W\), got \(2, 8, 8\)"),
        (torch.zeros(3, 8, 8), torch.zeros(1, 3, 8, 8), r"of one image, \(C, H, W\), got \(1, 3, 8, 8\)"),
    ],
)
def test_what_cannot_be_laid_over_each_other(image, gradients, message):
    with pytest.raises(InputError, match=message):
        pixel_overlay(image, gradients)


def test_plot_shows_the_overlay_where_it_is_told_to():
    image, gradients = torch.rand(3, 12, 20), _gradients(3, 12, 20)
    axes = new_axes()
    assert pixel_plot(image, gradients, axes, title="a cat") is axes
    shown = torch.from_numpy(np.asarray(axes.images[0].get_array())).permute(2, 0, 1)
    torch.testing.assert_close(shown, pixel_overlay(image, gradients))
    assert axes.get_title(loc="left") == "a cat"
    assert to_png(pixel_plot(image, gradients)).startswith(b"\x89PNG")


@pytest.mark.parametrize(("mode", "kind", "tolerance"), [("RGB", "png", 0), ("L", "png", 0), ("RGB", "jpeg", 9)])
def test_pictures_can_be_read_back(mode, kind, tolerance):
    rows, columns = np.mgrid[0:30, 0:40]
    shades = (rows * 3 + columns * 2).astype(np.uint8)
    array = shades if mode == "L" else np.stack([shades, 255 - shades, shades // 2], axis=-1)
    file = io.BytesIO()
    Image.fromarray(array).save(file, format=kind, quality=95)
    pixels = decoded(file.getvalue(), f"image/{kind}")
    expected = torch.from_numpy(np.atleast_3d(array)).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(pixels, expected, rtol=0, atol=(tolerance + 0.01) / 255)
