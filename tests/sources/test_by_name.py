"""Models by name: what timm and transformers wrote themselves loads with its preparation and its classes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from captum_paramsal.errors import SourceError
from captum_paramsal.sources import (
    LabelledPhotos,
    Preprocessing,
    class_names_of,
    has_weights,
    load_model,
    preprocessing_of,
)

PHOTOS = [(91, 70), (70, 91), (64, 64), (53, 140), (301, 233)]
NAMES = {0: "cat", 1: "dog", 2: "horse"}


def photo(width, height):
    pixels = np.random.default_rng(width * height).integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def prepared(preprocessing, picture):
    return preprocessing.tensor(preprocessing.picture(picture))


@pytest.fixture(scope="module")
def timm():
    return pytest.importorskip("timm")


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def vit(transformers, tmp_path_factory):
    """A folder with a small ViT, as transformers writes it."""
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8,
        id2label=NAMES, label2id={name: number for number, name in NAMES.items()},
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder, model


def test_a_folder_of_transformers(vit):
    folder, written = vit
    model = load_model(f"hf:{folder}")
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model(x).logits, written(x).logits)
    assert not model.training
    assert dict(class_names_of(f"hf:{folder}", model)) == NAMES
    assert has_weights(f"hf:{folder}")
    assert "ViTImageProcessor" in preprocessing_of(f"hf:{folder}").describe()


def test_weights_from_elsewhere_for_a_folder_of_transformers(vit, tmp_path):
    folder, written = vit
    state = {name: value * 2 for name, value in written.state_dict().items()}
    save_file(state, tmp_path / "other.safetensors")
    model = load_model(f"hf:{folder}", tmp_path / "other.safetensors")
    assert all(value.equal(state[name]) for name, value in model.state_dict().items())


def test_a_backbone_alone_is_refused(vit, tmp_path):
    _, written = vit
    written.vit.save_pretrained(tmp_path)
    with pytest.raises(SourceError, match=r"without 2 of its tensors: classifier\.bias, classifier\.weight"):
        load_model(f"hf:{tmp_path}")


@pytest.mark.parametrize("name", ["hf:no/such folder", "timm:resnet", "timm:no_such_model"])
def test_names_that_nobody_has_are_refused(name):
    pytest.importorskip("timm" if name.startswith("timm") else "transformers")
    with pytest.raises(SourceError, match=r"Expected .*(hf|timm):NAME"):
        load_model(name)


def test_a_folder_without_a_processor_is_refused(vit, tmp_path):
    _, written = vit
    written.save_pretrained(tmp_path)
    with pytest.raises(SourceError, match=r"image processor beside .* --image-size, --resize, --mean and --std"):
        preprocessing_of(f"hf:{tmp_path}")


PROCESSORS = {
    "ViTImageProcessor": {"size": {"height": 32, "width": 32}},
    "BeitImageProcessor": {"size": {"height": 40, "width": 40}},
    "DeiTImageProcessor": {"size": {"height": 41, "width": 41}, "crop_size": {"height": 32, "width": 32}},
    "CLIPImageProcessor": {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
    "MobileNetV2ImageProcessor": {"size": {"shortest_edge": 41}, "crop_size": {"height": 32, "width": 32}},
    "BitImageProcessor": {"size": {"shortest_edge": 36}, "crop_size": {"height": 33, "width": 33}},
    "ConvNextImageProcessor": {"size": {"shortest_edge": 48}, "crop_pct": 0.8},
    "ConvNextImageProcessor, large": {"size": {"shortest_edge": 384}},
    "EfficientNetImageProcessor": {"size": {"height": 40, "width": 40}},
    "EfficientNetImageProcessor, offset": {
        "size": {"height": 40, "width": 40}, "rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": False,
    },
    "EfficientNetImageProcessor, offset and top": {
        "size": {"height": 40, "width": 40}, "rescale_offset": True, "rescale_factor": 1 / 127.5,
    },
    "ViTImageProcessor, scaled to 2": {"size": {"height": 40, "width": 40}, "rescale_factor": 1 / 127.5},
    "ViTImageProcessor, not normalised": {"size": {"height": 32, "width": 32}, "do_normalize": False},
    "ViTImageProcessor, not scaled": {"size": {"height": 32, "width": 32}, "do_rescale": False, "do_normalize": False},
}  # fmt: skip


@pytest.mark.parametrize("processor", PROCESSORS)
def test_photos_are_prepared_as_the_processor_does(processor, vit, transformers, tmp_path):
    written = getattr(transformers, processor.partition(",")[0])(**PROCESSORS[processor])
    written.save_pretrained(tmp_path)
    vit[1].save_pretrained(tmp_path)
    preprocessing = preprocessing_of(f"hf:{tmp_path}")
    assert preprocessing_of(f"hf:{tmp_path}") == preprocessing
    for size in PHOTOS:
        theirs = written(photo(*size), return_tensors="pt")["pixel_values"][0].float()
        ours = prepared(preprocessing, photo(*size))
        assert ours.shape == theirs.shape
        # Torch's resizing of bytes and Pillow's differ by a step or two in the last place.
        steps = (ours - theirs).abs() * torch.tensor(preprocessing.std)[:, None, None] * 255
        assert float(steps.max()) <= 2.01, size
        assert float(steps.mean()) < 0.2, size


@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"height": 32, "width": 40}},
        {"size": {"shortest_edge": 32}},
        {"size": {"height": 32, "width": 32}, "do_resize": False},
    ],
)
def test_processors_that_make_no_squares_are_refused(settings, vit, transformers, tmp_path):
    transformers.ViTImageProcessor(**settings).save_pretrained(tmp_path)
    vit[1].save_pretrained(tmp_path)
    with pytest.raises(SourceError, match="that makes squares, got ViTImageProcessor"):
        preprocessing_of(f"hf:{tmp_path}")


@pytest.fixture(scope="module")
def small(timm, tmp_path_factory):
    """A folder with a small network, as timm writes it."""
    folder = tmp_path_factory.mktemp("timm")
    torch.manual_seed(0)
    data = {"input_size": (3, 40, 40), "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "crop_pct": 0.8}
    model = timm.create_model("resnet18", num_classes=3, block_args={}, pretrained_cfg_overlay=data).eval()
    model_config = {
        "label_names": ["n1", "n2", "n3"], "label_descriptions": {"n1": "cat", "n2": "dog", "n3": "horse"},
    }  # fmt: skip
    timm.models.save_for_hf(model, folder, model_config=model_config, safe_serialization=True)
    return folder, model


def test_a_folder_of_timm(small):
    folder, written = small
    model = load_model(f"timm:{folder}")
    x = torch.rand(2, 3, 40, 40)
    torch.testing.assert_close(model(x), written(x))
    assert has_weights(f"timm:{folder}")
    classes = class_names_of(f"timm:{folder}", model)
    assert dict(classes) == NAMES
    assert classes.number("n3") == 2
    preprocessing = preprocessing_of(f"timm:{folder}", None, model)
    assert preprocessing == Preprocessing(40, 50, "crop", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")
    assert preprocessing_of(f"timm:{folder}") == preprocessing


NETWORKS = (
    "resnet18.a1_in1k", "tf_efficientnet_lite1", "deit3_small_patch16_224", "convnext_atto", "eva02_tiny_patch14_336",
    "xcit_nano_12_p16_384", "efficientvit_b0",
)  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_photos_are_prepared_as_timm_does(name, timm):
    model = timm.create_model(name)
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**config, is_training=False)
    preprocessing = preprocessing_of(f"timm:{name}", None, model)
    for size in PHOTOS:
        torch.testing.assert_close(prepared(preprocessing, photo(*size)), transform(photo(*size)), rtol=1e-5, atol=1e-5)


def test_weights_of_a_file_for_a_name_of_timm(small, tmp_path):
    _, written = small
    save_file(written.state_dict(), tmp_path / "weights.safetensors")
    model = load_model("timm:resnet18", tmp_path / "weights.safetensors")
    assert model.fc.out_features == 3
    assert class_names_of("timm:resnet18", model) is None
    assert not has_weights("timm:resnet18")


def test_names_of_imagenet():
    pytest.importorskip("timm")
    model = load_model("timm:resnet18")
    classes = class_names_of("timm:resnet18", model)
    assert len(classes) == 1000
    assert classes.number("n01440764") == 0


def test_a_callable_whose_model_says_how_photos_are_prepared():
    model = nn.Conv2d(3, 4, 3)
    assert preprocessing_of("package:callable", None, model) == Preprocessing()
    assert "since the model carries none" in preprocessing_of("package:callable", None, model).describe()
    model.pretrained_cfg = {
        "input_size": (3, 64, 64), "mean": (0, 0, 0), "std": (1, 1, 1), "crop_pct": None, "crop_mode": "squash",
        "interpolation": "bicubic",
    }  # fmt: skip
    carried = preprocessing_of("package:callable", None, model)
    assert carried == Preprocessing(64, 73, "squash, crop", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bicubic")
    assert carried.describe().startswith("squashed to 73 px, centre 64 x 64 px (bicubic)")
    assert carried.describe().endswith("from the model's pretrained_cfg")
    model.pretrained_cfg["crop_mode"] = "border"
    with pytest.raises(SourceError, match="crop_mode 'border'"):
        preprocessing_of("package:callable", None, model)


@pytest.mark.slow
@pytest.mark.data
def test_a_real_network_of_timm_by_name(paramsal_data):
    pytest.importorskip("timm")
    weights = paramsal_data / "models" / "tf_efficientnet_lite1.safetensors"
    model = load_model("timm:tf_efficientnet_lite1", weights)
    preprocessing = preprocessing_of("timm:tf_efficientnet_lite1", weights, model)
    classes = class_names_of("timm:tf_efficientnet_lite1", model)
    folder = paramsal_data / "imagenet_val900"
    photos = LabelledPhotos.open(
        next(folder.glob("images")) if (folder / "images").is_dir() else folder,
        preprocessing, labels=folder / "labels.csv", classes=classes, unlisted=False,
    )  # fmt: skip
    right = total = 0
    with torch.no_grad():
        for batch in photos.batches(20, range(0, len(photos), len(photos) // 40)):
            right += int((model(batch.inputs).argmax(1) == batch.labels).sum())
            total += len(batch.labels)
    assert 0.7 <= right / total <= 0.9
    assert json.loads((paramsal_data / "imagenet_classes.json").read_text())[0][1] in classes[0]
