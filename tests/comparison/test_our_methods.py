"""Our methods inside Captum's own tools."""

import pytest
import torch
from captum.attr import LayerAttribution, NoiseTunnel
from captum.metrics import infidelity, sensitivity_max
from metrics.small_cases import small_model, some_images

from captum_paramsal import (
    CNNFixations,
    DiscernibleNeurons,
    InputSpaceSaliency,
    ModelDoctor,
    ParameterSaliency,
    POTSaliency,
    Reference,
)

IMAGES, TARGETS = some_images(2)


def input_space(model):
    return InputSpaceSaliency(ParameterSaliency(model))


def input_space_of_tails(model):
    images, targets = some_images(220)
    reference = Reference.fit(model, [(images, targets)], show_progress=False)
    return InputSpaceSaliency(POTSaliency(model, reference), top_k=3)  # so few, as not many are in their tails


def doctor(model):
    return ModelDoctor(model, multiply_by_inputs=True)


OURS = {"input space": input_space, "neurons": DiscernibleNeurons, "fixations": CNNFixations, "doctor": doctor}


@pytest.mark.parametrize("name", OURS)
def test_in_a_noise_tunnel(name):
    method = OURS[name](small_model())
    torch.manual_seed(0)
    tunnel = NoiseTunnel(method)
    found = tunnel.attribute(IMAGES, nt_type="smoothgrad", nt_samples=3, stdevs=1e-9, target=TARGETS)
    alone = method.attribute(IMAGES, target=TARGETS)
    assert found.shape == alone.shape
    torch.testing.assert_close(found, alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max()))
    spread = tunnel.attribute(IMAGES, nt_type="vargrad", nt_samples=3, stdevs=0.5, target=TARGETS)
    assert (spread > -1e-9 * spread.abs().max()).all()


def test_maps_of_the_doctor_are_interpolated():
    maps = ModelDoctor(small_model(), noise_samples=0).attribute(IMAGES, target=TARGETS)
    large = LayerAttribution.interpolate(maps, (16, 20), "bilinear")
    assert large.shape == (2, maps.shape[1], 16, 20)
    same = LayerAttribution.interpolate(maps, maps.shape[2:], "nearest")
    assert torch.equal(same, maps)


@pytest.mark.parametrize("make", [input_space, input_space_of_tails])
def test_input_space_saliency_in_captums_metrics(make):
    model = small_model()
    method = make(model)
    unusual = 4 * IMAGES  # so that filters lie in their tails
    maps = method.attribute(unusual, target=TARGETS)
    generator = torch.Generator().manual_seed(0)

    def perturb(inputs):
        noise = 0.05 * torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype)
        return noise, inputs - noise

    error = infidelity(model, perturb, unusual, maps, target=TARGETS, n_perturb_samples=4, normalize=True)
    nothing = infidelity(model, perturb, unusual, torch.zeros_like(maps), target=TARGETS, n_perturb_samples=4)
    assert error.shape == nothing.shape == (2,)
    assert (error > 0).all()
    change = sensitivity_max(method.attribute, unusual, lambda x: perturb(x)[1], n_perturb_samples=3, target=TARGETS)
    assert change.shape == (2,)
    assert (change > 0).all()
    still = sensitivity_max(method.attribute, unusual, lambda x: x.clone(), n_perturb_samples=3, target=TARGETS)
    assert (still < 1e-9).all()
