"""Methods as Quantus' metrics ask them: without Quantus, and in its metrics where it is installed."""

import warnings
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, Saliency
from docs.pages import DOCS, blocks_of
from metrics.small_cases import small_model, some_images
from scipy.stats import spearmanr
from torch import nn

from captum_paramsal import DiscernibleNeurons, InputSpaceSaliency, ParameterSaliency, Reference
from captum_paramsal.comparison import Preset, compare, preset, quantus_explanation
from captum_paramsal.demo import load_model, load_scenes, normalize
from captum_paramsal.errors import InputError, ReferenceMismatchError, TargetError
from captum_paramsal.metrics import Case, InputMaps, Pointing, Sparsity, per_pixel
from captum_paramsal.metrics.model_state import seeded

IMAGES, TARGETS = some_images()
ARRAYS = {"inputs": IMAGES.numpy(), "targets": TARGETS.numpy()}
signed = partial(InputMaps, abs=False)


def signed_saliency(model):
    return signed(Saliency(model))


def randomised(model):
    """As Quantus randomises: a copy whose layers forget what they learned."""
    other = deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for layer in other.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
    return other


@pytest.mark.parametrize("make", [signed_saliency, DiscernibleNeurons, IntegratedGradients])
def test_the_same_numbers_as_a_direct_call(make):
    model = small_model()
    direct = InputMaps(make(model)) if isinstance(make, type) else make(model)
    maps = direct(IMAGES, target=TARGETS)
    found = quantus_explanation(make)(model=model, **ARRAYS)
    assert found.shape == (3, 1, 8, 10)
    np.testing.assert_allclose(found, maps.sum(dim=1, keepdim=True).numpy(), rtol=1e-12)
    every = quantus_explanation(make, per_channel=True)(model=model, **ARRAYS)
    np.testing.assert_array_equal(every, maps.numpy())


def test_presets_have_the_maps_that_they_are_compared_with():
    model = small_model()
    names = ["grad_cam", "noise_tunnel", "random"]
    compared = compare(names, model, IMAGES, TARGETS, metrics=["sparsity"], show_progress=False)
    for place, name in enumerate(names):
        found = quantus_explanation(name)(model, *ARRAYS.values())
        np.testing.assert_allclose(found[:, 0], torch.stack(compared.maps)[:, place].numpy(), rtol=1e-6)


def test_the_method_follows_the_model():
    model = small_model()
    other = randomised(model)
    before, after = (signed_saliency(one)(IMAGES, target=TARGETS).sum(dim=1).numpy() for one in (model, other))
    explain = quantus_explanation(signed_saliency)
    for one, maps in ((model, before), (other, after), (model, before)):
        np.testing.assert_allclose(explain(model=one, **ARRAYS)[:, 0], maps, rtol=1e-12)
    # Quantus changes one copy again and again: its identity says nothing.
    model.load_state_dict(other.state_dict())
    np.testing.assert_allclose(explain(model=model, **ARRAYS)[:, 0], after, rtol=1e-12)


def test_a_reference_is_carried_over():
    model = small_model()
    other = randomised(model)
    usual, labels = some_images(20)
    reference = Reference.fit(model, [(usual, labels)], show_progress=False)
    explain = quantus_explanation("input_space_saliency", reference)
    for one in (model, other):
        direct = InputSpaceSaliency(ParameterSaliency(one, reference.transfer(one)))
        maps = direct.attribute(IMAGES, target=TARGETS).sum(dim=1, keepdim=True)
        np.testing.assert_allclose(explain(model=one, **ARRAYS), maps.numpy(), rtol=1e-9, atol=1e-12)
    with pytest.raises(ReferenceMismatchError, match="Expected a model with the filters"):
        explain(model=nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(96, 4)).double(), **ARRAYS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("given", [np.float64, np.float32, np.float16])
def test_images_take_the_dtype_of_the_model(dtype, given):
    model, inputs = small_model(dtype=dtype), ARRAYS["inputs"].astype(given)
    maps = signed_saliency(model)(torch.tensor(inputs).to(dtype), target=TARGETS)
    found = quantus_explanation(signed_saliency)(model, inputs, ARRAYS["targets"].astype(np.int32))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found[:, 0], maps.sum(dim=1, dtype=torch.float64).numpy())


def test_arrays_of_every_kind():
    explain, model = quantus_explanation("saliency"), small_model()
    expected = explain(model=model, **ARRAYS)
    flipped = ARRAYS["inputs"][:, :, ::-1][:, :, ::-1]
    locked = ARRAYS["inputs"].copy()
    locked.flags.writeable = False
    for inputs in (flipped, locked, IMAGES, IMAGES.clone().requires_grad_()):
        np.testing.assert_array_equal(explain(model=model, inputs=inputs, targets=TARGETS), expected)
    pixels = (ARRAYS["inputs"] * 50 + 128).clip(0, 255).astype(np.uint8)
    whole = explain(model=model, inputs=pixels.astype(float), targets=[0, 1, 2])
    np.testing.assert_array_equal(explain(model=model, inputs=pixels, targets=[0, 1, 2]), whole)


def test_everything_is_left_as_it_was():
    model = small_model().train()
    inputs = ARRAYS["inputs"].copy()
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    quantus_explanation("noise_tunnel")(model, inputs, ARRAYS["targets"])
    assert torch.equal(torch.rand(1), drawn)
    np.testing.assert_array_equal(inputs, ARRAYS["inputs"])
    assert all(module.training for module in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


def test_the_size_of_batches_does_not_matter():
    model = small_model()
    whole, single, pairs = (
        quantus_explanation("discernible_neurons", internal_batch_size=size)(model=model, **ARRAYS)
        for size in (None, 1, 2)
    )
    np.testing.assert_allclose(single, whole, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(pairs, whole, rtol=1e-9, atol=1e-12)


def test_arguments_of_the_call():
    model = small_model()
    maps = InputMaps(IntegratedGradients(model), n_steps=3)(IMAGES, target=TARGETS).sum(dim=1, keepdim=True)
    explain = quantus_explanation(IntegratedGradients)
    # Quantus adds the last two itself.
    found = explain(model=model, **ARRAYS, n_steps=3, device="cpu", method="ours")
    np.testing.assert_allclose(found, maps.numpy(), rtol=1e-12)
    with pytest.raises(TypeError, match="steps_n"):
        explain(model=model, **ARRAYS, steps_n=3)


def test_a_plain_function_of_a_model():
    def gradient(model):
        def maps(inputs, target):
            inputs.requires_grad_()
            return torch.autograd.grad(model(inputs).gather(1, target[:, None]).sum(), inputs)[0]

        return maps

    model = small_model()
    found, expected = (quantus_explanation(make)(model=model, **ARRAYS) for make in (gradient, signed_saliency))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("grad_kam", "nearest: grad_cam"),
        ("input_space_saliency", "Expected a `reference` for 'input_space_saliency'"),
        (Saliency(small_model()), "or what makes a method from a model.*got Saliency"),
        (signed_saliency(small_model()), "or what makes a method from a model.*got InputMaps"),
        (3, "got int"),
    ],
)
def test_what_makes_no_method(method, message):
    with pytest.raises(InputError, match=message):
        quantus_explanation(method)


def test_a_preset_of_your_own():
    def build(model, reference):
        return InputMaps(InputSpaceSaliency(ParameterSaliency(model, reference)))

    own, model = Preset(build, "mine", needs_reference=True), small_model()
    reference = Reference.fit(model, [some_images(5)], show_progress=False)
    found, named = (
        quantus_explanation(method, reference)(model=model, **ARRAYS) for method in (own, "input_space_saliency")
    )
    np.testing.assert_array_equal(found, named)
    with pytest.raises(InputError, match="Expected a `reference` for 'this preset', got None"):
        quantus_explanation(own)


def test_a_reference_goes_with_a_preset():
    model = small_model()
    reference = Reference.fit(model, [some_images(5)], show_progress=False)
    with pytest.raises(InputError, match="with a preset only"):
        quantus_explanation(Saliency, reference)
    with pytest.raises(InputError, match="got 0"):
        quantus_explanation(Saliency, internal_batch_size=0)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"inputs": ARRAYS["inputs"][0]}, InputError, r"\(N, C, H, W\) of numbers, got float64 \(3, 8, 10\)"),
        ({"inputs": np.full((3, 3, 8, 10), "a")}, InputError, "of numbers, got <U1"),
        ({"inputs": ARRAYS["inputs"][:0]}, InputError, r"got float64 \(0, 3, 8, 10\)"),
        ({"targets": [0, 1]}, TargetError, r"\(3,\) integers, got int64 \(2,\)"),
        ({"targets": np.eye(3)}, TargetError, r"got float64 \(3, 3\)"),
        ({"targets": np.zeros(3)}, TargetError, r"got float64 \(3,\)"),
        ({"model": abs}, InputError, "Expected a PyTorch model, got builtin_function_or_method"),
    ],
)
def test_what_cannot_be_explained(changed, error, message):
    with pytest.raises(error, match=message):
        quantus_explanation("saliency")(**{"model": small_model(), **ARRAYS, **changed})


NAMES = ["grad_cam", "input_space_saliency", "discernible_neurons"]
AXES = {"normalise_func_kwargs": {"normalise_axes": [1, 2, 3]}}


@pytest.fixture(scope="module")
def quantus():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("quantus")


@pytest.fixture(scope="module")
def demo():
    model, usual, scenes = load_model(), load_scenes("validation")[:24], load_scenes("test")[:5]
    reference = Reference.fit(model, [(normalize(usual.images), usual.labels)], show_progress=False)
    asked = {"model": model, "x_batch": normalize(scenes.images).numpy(), "y_batch": scenes.labels.numpy()}
    return scenes, reference, asked


def method_of(name, reference):
    return quantus_explanation(name, reference if name == "input_space_saliency" else None)


def case_on(scenes, name, reference, asked):
    method = preset(name, asked["model"], reference)
    return Case.of(asked["model"], method, torch.tensor(asked["x_batch"]), scenes.labels, boxes=scenes.boxes)


@pytest.mark.parametrize("name", NAMES)
def test_pointing_game_in_quantus(quantus, demo, name):
    scenes, reference, asked = demo
    inside = np.zeros((5, 1, 64, 64), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(inside, scenes.boxes.tolist(), strict=True):
        mask[:, y1:y2, x1:x2] = True
    game = quantus.PointingGame(abs=False, disable_warnings=True)
    hits = game(**asked, s_batch=inside, explain_func=method_of(name, reference))
    ours = Pointing().score(case_on(scenes, name, reference, asked))
    assert [float(hit) for hit in hits] == ours["pointing game"].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_sparseness_in_quantus(quantus, demo, name):
    scenes, reference, asked = demo
    metric = quantus.Sparseness(disable_warnings=True, **AXES)
    found = metric(**asked, explain_func=method_of(name, reference), batch_size=2)
    ours = Sparsity().score(case_on(scenes, name, reference, asked))["sparsity"]
    np.testing.assert_allclose(found, ours.numpy(), rtol=1e-4)


def test_faithfulness_correlation_in_quantus(quantus):
    # Of a linear model, integrated gradients say exactly what every value adds.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(240, 4)).eval()
    options = {"nr_runs": 20, "subset_size": 60, "perturb_baseline": 0.0, "return_aggregate": False}
    asked = {"model": model, "x_batch": ARRAYS["inputs"].astype(np.float32), "y_batch": ARRAYS["targets"]}
    found = {}
    for name in ("integrated_gradients", "random"):
        metric = quantus.FaithfulnessCorrelation(**options, disable_warnings=True)
        with seeded(0):
            found[name] = metric(**asked, explain_func=quantus_explanation(name, per_channel=True))
    np.testing.assert_allclose(found["integrated_gradients"], 1, rtol=1e-5)
    assert np.abs(found["random"]).max() < 0.8


@pytest.mark.parametrize("name", NAMES)
def test_faithfulness_correlation_on_the_demo(quantus, demo, name):
    _, reference, asked = demo
    options = {"nr_runs": 8, "subset_size": 2000, "perturb_baseline": "mean", "return_aggregate": False}
    metric = quantus.FaithfulnessCorrelation(**options, disable_warnings=True)
    with seeded(0):
        found = np.array(metric(**asked, explain_func=method_of(name, reference)))
    assert found.shape == (5,)
    assert (np.abs(found) <= 1).all()
    assert np.ptp(found) > 0


# A random layer may leave Grad-CAM nothing that is positive in one of the images.
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
@pytest.mark.parametrize("name", [*NAMES, "random"])
def test_randomised_models_in_quantus(quantus, demo, name):
    scenes, reference, asked = demo
    explain = method_of(name, reference)
    with torch.random.fork_rng(devices=[]):
        stages = quantus.MPRT(disable_warnings=True)(**asked, explain_func=explain)
        *_, (last, forgetful) = quantus.helpers.model.pytorch_model.PyTorchModel(
            asked["model"]
        ).get_random_layer_generator()
    np.testing.assert_allclose(stages["original"], 1)
    rebuilt = preset(name, forgetful, reference.transfer(forgetful))
    pairs = zip(
        per_pixel(case_on(scenes, name, reference, asked).maps),
        per_pixel(rebuilt(torch.tensor(asked["x_batch"]), target=scenes.labels)),
        strict=True,
    )
    by_hand = [spearmanr(one.abs().flatten(), other.abs().flatten()).statistic for one, other in pairs]
    np.testing.assert_allclose(stages[last], by_hand, rtol=1e-6)
    assert np.mean(stages[last]) == 1 if name == "random" else np.mean(stages[last]) < 0.8


def test_all_at_once_in_quantus(quantus, demo):
    _, _, asked = demo
    found = quantus.evaluate(
        metrics={"sparseness": quantus.Sparseness(disable_warnings=True)},
        xai_methods={name: quantus_explanation(name) for name in ("saliency", "random")},
        explain_func_kwargs={},
        **asked,
    )
    assert np.mean(found["saliency"]["sparseness"]) > np.mean(found["random"]["sparseness"])


def test_the_guides_example(quantus, demo, capsys):  # noqa: ARG001
    _, _, asked = demo
    blocks = [block for block in blocks_of(DOCS / "howto" / "compare.md") if "import quantus" in block.code]
    assert len(blocks) == 1
    assert blocks[0].language == "py"  # not run with the others, which do without Quantus
    scenes = load_scenes("test")[:3]
    names = {"model": asked["model"], "scenes": scenes, "images": normalize(scenes.images)}
    with torch.random.fork_rng(devices=[]):
        exec(compile(blocks[0].code, "compare.md", "exec"), names)  # noqa: S102
    assert capsys.readouterr().out.count("\n") >= 2
