"""Captum's own visualiser on the maps of every method that returns maps, unchanged."""

import matplotlib.pyplot as plt
import pytest
import torch
from captum.attr import LayerAttribution, visualization
from matplotlib.figure import Figure

from captum_paramsal import (
    CNNFixations,
    DiscernibleNeurons,
    InputSpaceSaliency,
    ModelDoctor,
    ParameterSaliency,
    POTSaliency,
)
from captum_paramsal.comparison import preset
from captum_paramsal.demo import load_model, load_scenes, normalize
from captum_paramsal.report import fit_reference
from captum_paramsal.sources import LabelledTensors
from captum_paramsal.viz import comparison_grid, signed_overlay

SIGNS = ["all", "absolute_value", "positive", "negative"]


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def reference(model):
    scenes = load_scenes("validation")[:210]
    usual = LabelledTensors(scenes.images, scenes.labels, normalize)
    return fit_reference(model, usual, batch_size=64, show_progress=False)


@pytest.fixture(scope="module")
def scenes():
    return load_scenes("test")[:2]


@pytest.fixture(scope="module")
def maps(model, reference, scenes):
    """Of two scenes by every method, ``(2, C, 64, 64)``, C being 1 or 3."""
    images = normalize(scenes.images)

    def doctor():
        coarse = ModelDoctor(model).attribute(images)
        return LayerAttribution.interpolate(coarse, images.shape[2:], "bilinear").sum(dim=1, keepdim=True)

    made = {
        "input_space": InputSpaceSaliency(ParameterSaliency(model, reference)).attribute(images),
        "input_space_raw": InputSpaceSaliency(ParameterSaliency(model)).attribute(images),
        "input_space_pot": InputSpaceSaliency(POTSaliency(model, reference)).attribute(images),
        "discernible_neurons": DiscernibleNeurons(model).attribute(images),
        "cnn_fixations": CNNFixations(model).attribute(images),
        "model_doctor": doctor(),
    }
    return made | {f"preset {name}": preset(name, model, reference)(images, target=scenes.labels) for name in ADAPTED}


ADAPTED = ("grad_cam", "model_doctor", "occlusion")
NAMES = ["input_space", "input_space_raw", "discernible_neurons", "cnn_fixations", "model_doctor"]
NAMES += [f"preset {name}" for name in ADAPTED]


def drawn(values, picture, **options):
    """By Captum, as its tutorials do: channels last, numpy, nothing else changed."""
    figure, axes = visualization.visualize_image_attr(
        values.permute(1, 2, 0).numpy(), picture.permute(1, 2, 0).numpy(), use_pyplot=False, **options
    )
    assert isinstance(figure, Figure)
    return torch.from_numpy(axes.images[-1].get_array().filled(float("nan")))


def has_sign(values, sign):
    summed = values.sum(dim=0)
    return bool({"positive": summed > 0, "negative": summed < 0}.get(sign, summed != 0).any())


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        pytest.param(name, sign, marks=[pytest.mark.slow] * ((place + number) % 2))
        for place, name in enumerate(NAMES)
        for number, sign in enumerate(SIGNS)
    ],
)
def test_every_map_and_sign(maps, scenes, name, sign):
    values, picture = maps[name][0], scenes.images[0]
    assert values.any()
    if not has_sign(values, sign):
        # Captum refuses to scale by 0, here as for maps of its own methods: nothing of this sign is there.
        with pytest.raises(AssertionError, match="Cannot normalize by scale factor = 0"):
            drawn(values, picture, sign=sign)
        return
    shown = drawn(values, picture, sign=sign)
    assert shown.shape == values.shape[1:]
    assert shown.isfinite().all()
    assert float(shown.abs().max()) == pytest.approx(1)
    summed = values.sum(dim=0)
    if sign == "all":
        assert torch.equal(shown.sign(), summed.sign())


@pytest.mark.parametrize("method", ["blended_heat_map", "masked_image", "alpha_scaling"])
@pytest.mark.parametrize("name", NAMES)
def test_ways_to_lay_a_map_over_its_image(maps, scenes, name, method):
    shown = drawn(maps[name][0], scenes.images[0], method=method, sign="absolute_value", show_colorbar=True, title=name)
    assert shown.isfinite().all()


def test_several_pictures_beside_each_other(maps, scenes):
    values, picture = (one[0].permute(1, 2, 0).numpy() for one in (maps["input_space"], scenes.images))
    methods, signs = ["original_image", "blended_heat_map"], ["all", "absolute_value"]
    _, axes = visualization.visualize_image_attr_multiple(values, picture, methods, signs, use_pyplot=False)
    assert len(axes) == 2
    assert not plt.get_fignums()


def test_a_map_of_zeros_is_refused_by_captum_and_drawn_by_us(scenes):
    """Captum's visualiser cannot draw what has no pixel but zeros; ours shows the pale picture."""
    zero = torch.zeros(3, 64, 64)
    for sign in SIGNS:
        with pytest.raises(AssertionError, match="Cannot normalize by scale factor = 0"):
            drawn(zero, scenes.images[0], sign=sign)
    assert signed_overlay(scenes.images[0], zero.sum(dim=0)).isfinite().all()
    axes = comparison_grid(scenes.images[:1], torch.zeros(1, 1, 64, 64), ["nothing"])
    assert [text.get_text() for text in axes.texts] == ["the same\neverywhere"]


def test_tails_that_no_filter_reaches_give_a_map_of_zeros(maps, scenes):
    """Which is why such a map can come out of our own methods at all."""
    values = maps["input_space_pot"]
    for n in range(len(values)):
        if values[n].any():
            assert drawn(values[n], scenes.images[n], sign="all").isfinite().all()
        else:
            with pytest.raises(AssertionError, match="Cannot normalize"):
                drawn(values[n], scenes.images[n], sign="all")
