"""Images and labels as people hold them: every way in gives what it gives for tensors ``(N, C, H, W)`` and ``(N,)``."""

from dataclasses import fields, is_dataclass
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import captum_paramsal as cp
from captum_paramsal import report
from captum_paramsal.metrics import Case, InputMaps, Sparsity, increase_in_confidence
from captum_paramsal.models_compared import compare_models, compare_on_images
from captum_paramsal.repair import (
    ControlImages,
    fine_tune_curve,
    fine_tune_step,
    knock_out_curve,
    mask_pixels,
    perturb_curve,
    step_transfer,
    treat,
)
from captum_paramsal.sources import LabelledTensors
from captum_paramsal.triage import set_saliency, triage


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.last(self.conv(x).relu()).relu().mean((2, 3)))


class Whole(nn.Module):
    """Takes images of whole numbers, and scales them itself."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net((x.float() / 255 - 0.5) / 0.25)


@cache
def network():
    torch.manual_seed(0)
    return Net().eval()


BYTES = torch.randint(0, 256, (8, 3, 9, 9), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
IMAGES = (BYTES.float() / 255 - 0.5) / 0.25


@cache
def right():
    with torch.no_grad():
        return network()(IMAGES).argmax(1)


def wrong():
    return (right() + 1) % 4


def mixed():
    return torch.where(torch.arange(8) < 3, wrong(), right())


@cache
def reference():
    images = torch.randn(60, 3, 9, 9, generator=torch.Generator().manual_seed(2))
    return cp.Reference.fit(network(), [(images, torch.arange(60) % 4)], tail=0.5, show_progress=False)


@cache
def diagnosis():
    doctor = cp.ModelDoctor(network(), "last", noise_samples=1)
    return doctor.fit([(IMAGES, right())], confidence=0.0, minimum=0, show_progress=False)


def step(model, x, y):
    filters = cp.ParameterSaliency(model).filters
    with fine_tune_step(model, filters[0], x, y):
        return model.conv.weight.detach().clone()


def curve(function):
    def changed(model, x, y):
        ranking = np.arange(len(reference().filters))
        controls = ControlImages(IMAGES.double().numpy(), list(right()), per_mistake=1)
        return function(model, x, y, ranking, reference().filters, k=1, controls=controls, show_progress=False)

    return changed


def saliency(model):
    return cp.ParameterSaliency(model)


def doctor(model):
    return cp.ModelDoctor(model, "last", noise_samples=1)


def boxes(count):
    return torch.tensor([[1.0, 1.0, 6.0, 6.0]]).repeat(count, 1)


def case(model, x, y):
    return Case.of(model, cp.CNNFixations(model), x, y)


# By door: what it makes of a model, images and labels, and the labels that it is asked for.
ONE = {
    "ParameterSaliency": (lambda m, x, y: saliency(m).attribute(x, y), wrong),
    "POTSaliency": (lambda m, x, y: cp.POTSaliency(m, reference()).p_values(x, y), wrong),
    "InputSpaceSaliency": (lambda m, x, y: cp.InputSpaceSaliency(saliency(m), 1).attribute(x, y), wrong),
    "ModelDoctor": (lambda m, x, y: doctor(m).attribute(x, y), wrong),
    "ModelDoctor.diagnose": (lambda m, x, y: doctor(m).diagnose(x, y, diagnosis()), wrong),
    "CNNFixations": (lambda m, x, y: cp.CNNFixations(m).attribute(x, y), wrong),
    "DiscernibleNeurons": (lambda m, x, y: cp.DiscernibleNeurons(m).attribute(x, y), wrong),
    "DiscernibleNeurons.trace": (lambda m, x, y: cp.DiscernibleNeurons(m).trace(x, y).heatmap(), wrong),
    "compare": (
        lambda m, x, y: cp.compare(
            {"gradient": InputMaps(cp.CNNFixations(m))}, m, x, y, metrics=["sparsity"], keep=0, show_progress=False
        ).scores[0, 0],
        wrong,
    ),
    "metrics": (lambda m, x, y: Sparsity().score(case(m, x, y)), wrong),
    "increase_in_confidence": (
        lambda m, x, y: increase_in_confidence(m, x, boxes(1 if x.ndim == 3 else len(x)), y),
        wrong,
    ),
    "fine_tune_step": (step, wrong),
    "knock_out_curve": (curve(knock_out_curve), wrong),
    "perturb_curve": (curve(perturb_curve), wrong),
    "fine_tune_curve": (curve(fine_tune_curve), wrong),
    "mask_pixels": (lambda m, x, y: mask_pixels(m, x, y, x, share=0.1), wrong),
    "report": (lambda _, x, y: next(iter(LabelledTensors(x, y).batches(8))), wrong),
}
SEVERAL = ONE | {
    "ModelDoctor.fit": (
        lambda m, x, y: doctor(m).fit([(x, y)], confidence=0.0, minimum=0, show_progress=False).correlation,
        right,
    ),
    "Reference.fit": (lambda m, x, y: cp.Reference.fit(m, [(x, y)], tail=0.5, show_progress=False).mean, wrong),
    "DiscernibleNeurons.fit_weights": (
        lambda m, x, y: cp.DiscernibleNeurons(m).fit_weights(
            x, y, boxes(8).numpy(), grid=(0.5, 1.0), trials=2, show_progress=False
        ).weights.current,
        wrong,
    ),
    "compare_models": (lambda m, x, y: compare_models(m, network(), x, y, steps=1).share, mixed),
    "compare_on_images": (
        lambda m, x, y: compare_on_images(m, network(), x, y, limit=2, keep=1).similarity,
        mixed,
    ),
    "triage": (lambda m, x, y: triage(m, [(x, y)], show_progress=False).q_values, mixed),
    "set_saliency": (lambda m, x, y: set_saliency(m, x, y, reference()).coherence, wrong),
    "step_transfer": (
        lambda m, x, y: step_transfer(
            m, x, y, np.arange(len(reference().filters)), reference().filters,
            others=np.arange(8)[::-1, None], k=1, show_progress=False,
        ),
        wrong,
    ),
    "treat": (
        lambda m, x, y: treat(m, [(x, y)], [(x, y)], epochs=1, show_progress=False).after.confidence,
        mixed,
    ),
    "report.explain": (
        lambda m, x, y: report.explain(
            m, LabelledTensors(x, y), reference(),
            settings=report.ExplainSettings(top_k=1, cards=1, show_progress=False),
        ).summary()["mistakes"],
        mixed,
    ),
}  # fmt: skip


@cache
def as_tensors(door):
    call, labels = SEVERAL[door]
    return call(network(), IMAGES, labels())


def numbers(value):
    """All tensors in a result."""
    if isinstance(value, Tensor):
        return [value.detach()]
    if isinstance(value, (int, float)):
        return [torch.tensor(value)]
    if isinstance(value, dict):
        return [one for item in value.values() for one in numbers(item)]
    if is_dataclass(value):
        return [one for field in fields(value) for one in numbers(getattr(value, field.name))]
    return []


def assert_same(result, expected):
    result, expected = numbers(result), numbers(expected)
    assert expected
    assert len(result) == len(expected)
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def readonly(array):
    array.flags.writeable = False
    return array


LONG = {"report.explain", "perturb_curve", "fine_tune_curve", "POTSaliency", "DiscernibleNeurons.trace"}
FORMS = {
    "arrays": lambda x, y: (x.double().numpy(), y.numpy().astype(np.uint8)),
    "flipped arrays": lambda x, y: (x.numpy()[::-1].copy()[::-1], readonly(y.numpy().astype(">i2"))),
    "lists of tensors": lambda x, y: (x, list(y)),
    "columns": lambda x, y: (x.numpy(), y[:, None].int()),
}


def pairs(doors, forms):
    """Each door in one form; the others are slow, and so is what takes long."""
    return [
        pytest.param(door, form, marks=[pytest.mark.slow] * (number % len(forms) != place or door in LONG))
        for number, door in enumerate(doors)
        for place, form in enumerate(forms)
    ]


@pytest.mark.filterwarnings("ignore::captum_paramsal.errors.FewSamplesWarning")
@pytest.mark.filterwarnings("ignore::captum_paramsal.errors.ConstantEvidenceWarning")
@pytest.mark.parametrize(("door", "form"), pairs(SEVERAL, FORMS))
def test_arrays_and_lists(door, form):
    call, labels = SEVERAL[door]
    images, given = FORMS[form](IMAGES, labels())
    assert_same(call(network(), images, given), as_tensors(door))


SINGLE = {
    "a number": lambda x, y: (x, int(y)),
    "an array and a 0-d tensor": lambda x, y: (x.numpy(), y),
}


@pytest.mark.filterwarnings("ignore::captum_paramsal.errors.ConstantEvidenceWarning")
@pytest.mark.parametrize(("door", "form"), pairs(ONE, SINGLE))
def test_a_single_image(door, form):
    call, labels = ONE[door]
    label = labels()[2]
    image, given = SINGLE[form](IMAGES[2], label)
    assert_same(call(network(), image, given), call(network(), IMAGES[2:3], label[None]))


@pytest.mark.parametrize("door", ["ParameterSaliency", "ModelDoctor", "CNNFixations", "DiscernibleNeurons"])
@pytest.mark.parametrize("form", [lambda x: x, lambda x: x.numpy()], ids=["tensor", "array"])
def test_whole_numbers_of_a_model_that_scales_itself(door, form):
    call, labels = ONE[door]
    model = Whole().eval()
    if door == "ModelDoctor":
        result = cp.ModelDoctor(model, "net.last", noise_samples=1).attribute(form(BYTES), labels())
    else:
        result = call(model, form(BYTES), labels())
    assert_same(result, call(network(), IMAGES, labels()))


@pytest.mark.parametrize("door", ["InputSpaceSaliency", "compare"])
def test_whole_numbers_have_no_gradient_and_no_noise(door):
    call, labels = ONE[door]
    with pytest.raises(cp.InputError, match=r"`images.float\(\)`, if the model makes the same of them"):
        call(Whole().eval(), BYTES, labels())


def test_a_data_set_item_by_item():
    items = [(image, int(label)) for image, label in zip(IMAGES, wrong(), strict=True)]
    by_item = cp.Reference.fit(network(), items, tail=0.5, show_progress=False)
    together = cp.Reference.fit(network(), [(IMAGES, wrong())], tail=0.5, show_progress=False)
    assert by_item.count == together.count == 8
    torch.testing.assert_close(by_item.mean, together.mean)
    torch.testing.assert_close(by_item.tail.values, together.tail.values)


class Grey(nn.Module):
    """Takes grey pictures ``(N, H, W)``, three dimensions, and adds that of channels."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 4)

    def forward(self, x):
        return self.head(self.conv(x[:, None]).relu().mean((2, 3)))


@pytest.mark.parametrize("count", [1, 3])
def test_three_dimensions_that_are_examples_stay_so(count):
    assert len(cp.ParameterSaliency(Grey().eval()).attribute(IMAGES[:count, 0], target=1)) == count


def test_labels_of_several_examples_are_no_single_image():
    with pytest.raises(cp.InputError, match=r"`image\[None\]`"):
        cp.ParameterSaliency(network()).attribute(IMAGES[0], target=[1, 2, 0])


@pytest.mark.parametrize(
    ("images", "remedy"),
    [
        (np.ma.masked_array(np.zeros((2, 3, 9, 9))), "a masked array"),
        (np.full((2, 3, 9, 9), "a"), "an array of <U1"),
        (np.zeros((2, 3, 9, 9), dtype=complex), "an array of complex128"),
        (np.full((2, 3, 9, 9), 1e300), "NaN or infinity in example 0"),
        (np.zeros((2, 32, 32, 3)), r"`images.permute\(0, 3, 1, 2\)`"),
        ([np.zeros((3, 9, 9))] * 2, r"`torch.as_tensor\(numpy.stack\(images\)\)`"),
        (list(IMAGES), r"`torch.stack\(images\)`"),
    ],
)
def test_what_is_not_certain_is_refused_with_the_remedy(images, remedy):
    with pytest.raises(cp.InputError, match=remedy):
        cp.ParameterSaliency(network()).attribute(images, target=0)


@pytest.mark.parametrize("size", [None, 2])
def test_further_arguments_that_are_arrays_go_with_their_examples(size):
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x, weight):
            return self.net(x) * torch.as_tensor(weight)

    weight = torch.rand(8, 1, generator=torch.Generator().manual_seed(3))
    scores = cp.ParameterSaliency(Weighted().eval())
    expected = scores.attribute(IMAGES, wrong(), weight)
    torch.testing.assert_close(scores.attribute(IMAGES, wrong(), weight.numpy(), internal_batch_size=size), expected)
