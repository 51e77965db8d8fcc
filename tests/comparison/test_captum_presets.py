"""Captum's methods by name are Captum's."""

import pytest
import torch
from captum.attr import Deconvolution, FeatureAblation, GradientShap, GuidedBackprop, InputXGradient
from cases.patch_transformer import patch_transformer
from metrics.small_cases import small_model, some_images

from captum_paramsal.comparison import preset
from captum_paramsal.errors import LayerError
from captum_paramsal.metrics.model_state import seeded

IMAGES, TARGETS = some_images(2, size=(12, 14))


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize(
    ("name", "method"),
    [("input_x_gradient", InputXGradient), ("guided_backprop", GuidedBackprop), ("deconvolution", Deconvolution)],
)
def test_they_are_captums(name, method):
    model = small_model()
    expected = method(model).attribute(IMAGES.clone().requires_grad_(), target=TARGETS).detach()
    torch.testing.assert_close(preset(name, model)(IMAGES, target=TARGETS), expected)


def test_guided_grad_cam_refuses_tokens():
    with pytest.raises(LayerError, match=r"\(N, C, H, W\) for 'guided_grad_cam'.*Take 'grad_cam'"):
        preset("guided_grad_cam", patch_transformer())


def test_gradient_shap_sees_each_image_alone():
    model = small_model()
    expected = []
    for image, target in zip(IMAGES.split(1), TARGETS, strict=True):
        with seeded(0):
            spread = 0.15 * float(image.max() - image.min())
            options = {"baselines": torch.zeros_like(image), "n_samples": 10, "stdevs": spread}
            expected.append(GradientShap(model).attribute(image, target=int(target), **options).detach())
    torch.testing.assert_close(preset("gradient_shap", model)(IMAGES, target=TARGETS), torch.cat(expected))


def test_segments_are_ablated_by_captum():
    segmentation = pytest.importorskip("skimage.segmentation")
    model = small_model()
    expected = []
    for image, target in zip(IMAGES, TARGETS.tolist(), strict=True):
        scaled = ((image - image.min()) / (image.max() - image.min())).permute(1, 2, 0).numpy()
        regions = segmentation.slic(scaled, n_segments=50, compactness=10, start_label=0)
        mask = torch.from_numpy(regions)[None].expand_as(image)[None]
        with torch.no_grad():
            expected.append(FeatureAblation(model).attribute(image[None], target=target, feature_mask=mask))
    torch.testing.assert_close(preset("segments", model)(IMAGES, target=TARGETS), torch.cat(expected))


@pytest.mark.parametrize("channels", [1, 3])
def test_segments_of_grey_and_of_empty_images(channels):
    pytest.importorskip("skimage")
    model = small_model(channels)
    images = torch.zeros(2, channels, 12, 14, dtype=torch.float64)
    images[1, :, 3:6, 4:9] = 1.0
    maps = preset("segments", model)(images, target=TARGETS)
    assert torch.isfinite(maps).all()
    # A region of one colour counts as a whole.
    assert maps[1].unique().numel() <= 60
