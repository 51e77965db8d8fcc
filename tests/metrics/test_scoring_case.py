import random

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, LayerGradCam, NoiseTunnel, Saliency
from metrics.small_cases import case_of, case_with, small_model, some_images
from torch import nn
from torch.nn.functional import interpolate

from captum_paramsal.errors import InputError, ParamsalError, TargetError
from captum_paramsal.metrics import METRICS, Case, InputMaps, Metric, SharedPasses, metric_named
from captum_paramsal.metrics.metric import CurveMetric
from captum_paramsal.metrics.model_state import seeded
from captum_paramsal.metrics.perturbations import GaussianNoise, SquareRemoval, perturbed_copies


def test_degenerate_maps():
    maps = some_images(7)[0].float()
    maps[1], maps[2], maps[3, 1, 2, 3], maps[4, 0, 0, 0] = 0.0, -3.0, torch.nan, torch.inf
    maps[5] = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    maps[6] = interpolate(torch.full((1, 1, 2, 3), 0.1), (8, 10), mode="bilinear")[0]
    case = Case(small_model(), *some_images(7), maps, InputMaps(lambda images: images))
    assert case.degenerate.tolist() == [False] + [True] * 6
    judged = case.judged(torch.ones(7, 2, dtype=torch.int64))
    assert judged.dtype == torch.float64
    assert judged[0].tolist() == [1, 1]
    assert judged[1:].isnan().all()
    faint = torch.zeros(1, 1, 8, 10)
    faint[0, 0, 3, 3] = 1e-30
    assert case_with(faint).degenerate.tolist() == [False]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"images": torch.zeros(3, 8)}, InputError, r"\(N, C, H, W\) of floating point, got \(3, 8\)"),
        ({"images": None}, InputError, "got NoneType"),
        ({"images": torch.full((3, 3, 8, 10), torch.nan)}, InputError, "NaN or infinity in example 0"),
        ({"images": torch.zeros(0, 3, 8, 10)}, InputError, "at least one"),
        ({"targets": torch.tensor([0, 1])}, TargetError, r"a tensor \(3,\), got \(2,\)"),
        ({"targets": 2}, TargetError, "got int"),
        ({"maps": torch.zeros(3, 1, 8, 10)}, InputError, r"\(3, 3, 8, 10\), got \(3, 1, 8, 10\). InputMaps"),
        ({"max_examples_per_batch": 0}, InputError, "at least 1, got 0"),
    ],
)
def test_bad_input(changed, error, message):
    images, targets = some_images()
    known = {"images": images, "targets": targets, "maps": images, **changed}
    if "images" in changed and isinstance(changed["images"], torch.Tensor):
        known |= {"maps": changed["images"], "targets": targets[: len(changed["images"])]}
    with pytest.raises(error, match=message):
        Case(small_model(), explain=InputMaps(lambda images: images), **known)


def test_copies_depend_on_the_image_alone():
    images, _ = some_images()
    for noise in (GaussianNoise(0.3), SquareRemoval(), lambda image, _: image.roll(1)):
        whole = perturbed_copies(images, noise, 5, range(4))
        assert whole.shape == (12, 3, 8, 10)
        turned = perturbed_copies(images.flip(0), noise, 5, range(4))
        assert torch.equal(turned[:4], whole[8:])
        assert torch.equal(perturbed_copies(images[1:2], noise, 5, range(2, 4)), whole[6:8])
    noises = perturbed_copies(images, GaussianNoise(0.3), 5, range(4)) - images.repeat_interleave(4, dim=0)
    assert len({round(float(one.mean()), 9) for one in noises}) == 12
    assert not torch.equal(*(perturbed_copies(images, GaussianNoise(0.3), seed, range(1)) for seed in (0, 1)))
    with pytest.raises(InputError, match=r"\(3, 8, 10\), got \(8, 10\)"):
        perturbed_copies(images, lambda image, _: image[0], 0, range(1))


def test_square_removal():
    images = torch.ones(40, 2, 8, 12)
    images += torch.arange(40).view(-1, 1, 1, 1)
    gone = perturbed_copies(images, SquareRemoval(0.5, value=-1.0), 0, range(1)) == -1
    assert (gone.sum(dim=(2, 3)) == 16).all()
    assert torch.equal(gone[:, 0], gone[:, 1])
    reached = gone[:, 0].any(dim=0)
    assert reached.any(dim=0).all()  # from edge to edge
    assert reached.any(dim=1).all()
    assert len({tuple(one.nonzero()[0].tolist()) for one in gone[:, 0]}) > 10
    for bad in (SquareRemoval, GaussianNoise):
        with pytest.raises(InputError, match="got 0"):
            bad(0)


def test_passes_are_replayed_on_equal_arguments_only():
    seen = []

    def model(images, factor=1.0):
        seen.append(len(images))
        return images.flatten(1) * factor

    images, _ = some_images()
    shared = SharedPasses()
    forward = shared.replaying(model)
    first = forward(images)
    assert torch.equal(forward(images.clone()), first)
    assert torch.equal(shared.replaying(model)(images), first)
    assert seen == [3]
    forward(images[:2])
    forward(images.flip(0))
    forward(images, 2.0)
    assert torch.equal(forward(images, 2.0), 2 * first)
    forward(images, torch.ones(()))
    assert seen == [3, 2, 3, 3, 3]
    assert torch.equal(shared.replaying(lambda images: images + 1)(images), images + 1)
    other = SharedPasses().replaying(model)
    other(images)
    assert len(seen) == 6
    assert shared.copies(images, GaussianNoise(1.0), 0, range(2)) is shared.copies(
        images.clone(), GaussianNoise(1.0), 0, range(2)
    )


def test_random_numbers_go_on_as_before():
    states = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    def draws():
        with seeded(3):
            return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()  # noqa: NPY002, S311

    assert draws() == draws()
    with pytest.raises(KeyError), seeded(0):
        raise KeyError
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert states[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert states[2] == random.getstate()


class Training(nn.Module):
    """Everything that a pass may leave behind."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(5, 4)

    def forward(self, images):
        return self.head(self.body(images).mean(dim=(2, 3)))


@pytest.mark.parametrize("name", METRICS)
def test_metrics_leave_everything_as_it_was(name):
    model = Training().double().train()
    model.body[1].eval()
    model.head.weight.requires_grad_(False)
    images, targets = some_images()
    boxes = torch.tensor([[1, 1, 6, 6]] * 3)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()], [each.requires_grad for each in model.parameters()]
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    baselines = torch.zeros(2, 3, 8, 10, dtype=torch.float64)

    def shap(model):
        return InputMaps(GradientShap(model), baselines=baselines, n_samples=2)

    metric = metric_named(name)
    assert metric.name == name
    scores = []
    for _ in range(2):
        case = Case.of(model, shap(model), images, targets, boxes=boxes, rebuild=shap)
        scores.append(metric.score(case))
        metric.baselines(case)
    assert list(scores[0]) == [column.name for column in metric.columns]
    for column, values in scores[0].items():
        assert values.shape == (3,)
        assert values.dtype == torch.float64
        torch.testing.assert_close(values, scores[1][column], rtol=0, atol=0, equal_nan=True)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert flags == (
        [module.training for module in model.modules()],
        [each.requires_grad for each in model.parameters()],
    )
    assert all(each.grad is None for each in model.parameters())
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.equal(images, some_images()[0])
    assert not images.requires_grad


@pytest.mark.parametrize("name", METRICS)
def test_metrics_under_inference_mode(name):
    model = small_model()

    def grad_cam(model):
        return InputMaps(LayerGradCam(model, model[2]))

    with torch.inference_mode():
        images, targets = some_images()
        boxes = torch.tensor([[1, 1, 6, 6]] * 3)
        inside = Case.of(model, grad_cam(model), images, targets, boxes=boxes, rebuild=grad_cam)
        found = metric_named(name).score(inside)
    outside = case_of(grad_cam(model), model, boxes=boxes.clone(), rebuild=grad_cam)
    for column, values in metric_named(name).score(outside).items():
        torch.testing.assert_close(found[column], values, equal_nan=True)


def test_a_method_may_differentiate_by_the_weights():
    model = small_model()

    def influence(images, target):
        scores = model(images).gather(1, target[:, None]).sum()
        (gradient,) = torch.autograd.grad(scores, model[0].weight)
        return images * gradient.sum()

    assert metric_named("sensitivity").score(case_of(influence, model))["sensitivity"].isfinite().all()


def test_columns():
    metrics = [build() for build in METRICS.values()]
    names = [column.name for metric in metrics for column in metric.columns]
    assert len(set(names)) == len(names)
    assert {column.better for metric in metrics for column in metric.columns} <= {"higher", "lower", ""}
    assert all(column.description for metric in metrics for column in metric.columns)
    assert all(hash(metric) == hash(METRICS[metric.name]()) for metric in metrics)
    assert {metric.name for metric in metrics if metric.needs_boxes} == {"pointing_game", "iou"}
    assert [metric.name for metric in metrics if isinstance(metric, CurveMetric)] == [
        "deletion",
        "insertion",
        "road",
        "model_randomisation",
    ]
    with pytest.raises(ParamsalError, match="got 'infidelty'; nearest: 'infidelity'"):
        metric_named("infidelty")
    with pytest.raises(TypeError, match="abstract"):
        Metric()


def test_explained_by_another_method():
    model = small_model()
    case = case_of(Saliency(model), model, boxes=torch.tensor([[0, 0, 4, 4]] * 3))
    explain = InputMaps(NoiseTunnel(Saliency(model)), nt_samples=2)
    other = case.explained_by(explain, case.maps * 2)
    assert other.shared is case.shared
    assert other.boxes is case.boxes
    assert other.rebuild is None
    assert torch.equal(other.maps, case.maps * 2)
    assert len(other) == 3
