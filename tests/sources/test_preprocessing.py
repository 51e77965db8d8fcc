import pytest
import torch
from PIL import Image
from sources.photo_files import save_photo
from torchvision.models import get_model_weights

from captum_paramsal.errors import SourceError
from captum_paramsal.sources import Preprocessing, preprocessing_of


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (227, 227), (50, 333), (256, 256)])
@pytest.mark.parametrize("name", ["squeezenet1_1", "efficientnet_b0", "inception_v3"])
def test_equals_the_preset_of_torchvision(tmp_path, name, size):
    photo = Image.open(save_photo(tmp_path / "a.png", size))
    ours = preprocessing_of(name)

    expected = get_model_weights(name).IMAGENET1K_V1.transforms()(photo)

    torch.testing.assert_close(ours.tensor(ours.picture(photo)), expected, rtol=0, atol=1e-6)


def test_named_weights_bring_their_own_preset():
    assert preprocessing_of("resnet50", "IMAGENET1K_V1").short_side == 256
    assert preprocessing_of("resnet50", "ResNet50_Weights.IMAGENET1K_V2").short_side == 232
    assert preprocessing_of("resnet50", "some_file.pt").short_side == 256


def test_squash_keeps_the_whole_photo():
    photo = Image.new("RGB", (60, 20), "black")
    photo.paste("white", (0, 0, 30, 20))
    squashed = Preprocessing(image_size=10, resize="squash").picture(photo)
    assert squashed.size == (10, 10)
    assert squashed.getpixel((0, 5)) == (255, 255, 255)
    assert squashed.getpixel((9, 5)) == (0, 0, 0)


def test_one_channel_means_greyscale(tmp_path):
    photo = Image.open(save_photo(tmp_path / "a.png"))
    ours = Preprocessing(image_size=8, short_side=8, mean=(0.5,), std=(0.25,))
    tensor = ours.tensor(ours.picture(photo))
    assert tensor.shape == (1, 8, 8)
    assert tensor.abs().max() <= 2


def test_a_photo_from_a_turned_camera_is_upright():
    photo = Image.new("RGB", (40, 20))
    photo.getexif()[0x0112] = 6
    assert Preprocessing(image_size=10, short_side=10, resize="crop").picture(photo).size == (10, 10)
    turned = Preprocessing(image_size=20, resize="squash")
    photo.paste("white", (0, 0, 20, 20))
    upright = turned.picture(photo)
    assert upright.getpixel((10, 2)) == (255, 255, 255)
    assert upright.getpixel((10, 17)) == (0, 0, 0)


def test_override_puts_in_what_is_given():
    changed = Preprocessing().override(image_size=112, resize="squash", mean=(0.5,), std=(0.5,))
    assert changed == Preprocessing(112, 128, "squash", (0.5,), (0.5,))
    assert Preprocessing().override() == Preprocessing()


def test_description_names_every_setting():
    assert Preprocessing().describe() == (
        "shorter side to 256 px, centre 224 x 224 px (bilinear), RGB, mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 0}, "at least 1 pixel, got 0"),
        ({"resize": "stretch"}, "got 'stretch'"),
        ({"mean": (0.5, 0.5)}, "got 2 and 3"),
        ({"mean": (0.5,)}, "got 1 and 3"),
        ({"std": (0.5, 0.0, 0.5)}, r"above 0, got \(0.5, 0.0, 0.5\)"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(SourceError, match=message):
        Preprocessing(**settings)
