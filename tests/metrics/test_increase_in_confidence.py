import pytest
import torch
from torch import nn

from captum_paramsal.errors import InputError, TargetError
from captum_paramsal.metrics import increase_in_confidence

NAN = torch.nan


class Brightness(nn.Module):
    """Scores a class by the sum of its own third of the image; keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3, dtype=torch.float64))
        self.shown = []

    def forward(self, images, shift=0.0):
        assert not torch.is_grad_enabled()
        assert not self.training
        self.shown.append(images)
        thirds = images.sum(dim=(1, 2)).unflatten(1, (3, -1)).sum(dim=2)
        return thirds @ self.weight + shift


def strips(*rows):
    """Images (N, 1, 2, 6): three thirds, each of 2 x 2 pixels of one value."""
    values = torch.tensor(rows, dtype=torch.float64)
    return values.repeat_interleave(2, dim=1)[:, None, None, :].expand(-1, 1, 2, -1).clone()


LEFT, RIGHT, ALL, NONE = (0, 0, 2, 2), (4, 0, 6, 2), (0, 0, 6, 2), (NAN,) * 4


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def softmax(*scores):
    return torch.tensor(scores, dtype=torch.float64).softmax(dim=0)


def test_by_hand():
    images = strips((0.5, 0.25, 0.0), (0.5, 0.25, 0.0), (0.5, 0.25, 0.0), (0.5, 0.25, 0.0))
    change = increase_in_confidence(Brightness(), images, boxes(LEFT, RIGHT, ALL, NONE))
    before, left = softmax(2, 1, 0)[0], softmax(2, 0, 0)[0]
    assert change.labels.tolist() == [0] * 4
    torch.testing.assert_close(change.before, before.expand(4))
    expected = torch.stack([left, softmax(0, 0, 0)[0], before, torch.tensor(NAN, dtype=torch.float64)])
    torch.testing.assert_close(change.after, expected, equal_nan=True)
    assert change.increased.tolist() == [True, False, False, False]  # the whole image is no increase
    assert change.empty.tolist() == [False, False, False, True]
    torch.testing.assert_close(change.drop[:3], torch.stack([0 * left, 1 - 1 / 3 / before, 0 * left]))
    assert change.drop[3].isnan()
    assert change.area_share.tolist() == pytest.approx([1 / 3, 1 / 3, 1, 0])
    assert change.share == 0.25
    assert change.interval == pytest.approx((0.0456, 0.6994), abs=1e-4)


def test_what_is_shown():
    model, images = Brightness(), strips((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    baseline = torch.tensor([[[[-1.0]]], [[[-2.0]]]])
    increase_in_confidence(model, images, boxes((1, 0, 3, 1), (0.5, 0, 1.0, 1.5)), baseline=baseline)
    whole, occluded = model.shown
    assert torch.equal(whole, images)
    expected = baseline.double().expand_as(images).clone()
    expected[0, :, 0, 1:3] = images[0, :, 0, 1:3]
    expected[1, :, :, :1] = images[1, :, :, :1]
    assert torch.equal(occluded, expected)


def test_the_class_predicted_for_the_whole_image_is_kept():
    change = increase_in_confidence(Brightness(), strips((0.5, 0.0, 0.25)), boxes(RIGHT))
    assert change.labels.tolist() == [0]
    torch.testing.assert_close(change.after, softmax(0, 0, 1)[:1])


@pytest.mark.parametrize("target", [2, [2, 2], torch.tensor([2, 2]), [(2,), (2,)]])
def test_targets(target):
    change = increase_in_confidence(Brightness(), strips((1.0, 0.0, 0.25), (1.0, 0.0, 0.0)), boxes(RIGHT, LEFT), target)
    assert change.labels.tolist() == [2, 2]
    torch.testing.assert_close(change.before, torch.stack([softmax(4, 0, 1)[2], softmax(4, 0, 0)[2]]))
    assert change.increased.tolist() == [True, False]


def test_outputs_with_places():
    def forward(images):
        return torch.stack([images[:, :, 0], -images[:, :, 0]], dim=1).squeeze(2)  # (N, 2, W)

    images = strips((1.0, 2.0, 3.0))
    change = increase_in_confidence(forward, images, boxes(LEFT), target=(0, 5))
    torch.testing.assert_close(change.before, softmax(3, -3)[:1])
    torch.testing.assert_close(change.after, softmax(0, 0)[:1])


def test_parts_are_the_whole():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(7, 1, 2, 6, generator=generator, dtype=torch.float64)
    rows = boxes(LEFT, RIGHT, ALL, NONE, LEFT, RIGHT, NONE)
    shift = torch.rand(7, 3, generator=generator, dtype=torch.float64)
    baseline = torch.rand(1, 1, 2, 6, generator=generator)
    arguments = (images, rows, list(range(3)) * 2 + [1], shift)
    whole = increase_in_confidence(Brightness(), *arguments, baseline=baseline)
    parts = increase_in_confidence(Brightness(), *arguments, baseline=baseline, internal_batch_size=3)
    assert whole.before.unique().numel() == 7
    for name in ("labels", "before", "after", "area_share"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=0, atol=0, equal_nan=True)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.train()
    model[1].eval()
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    kept = images.detach().clone()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    arguments = (images, torch.tensor([[0, 0, 4, 4]] * 2))
    first, second = (increase_in_confidence(model, *arguments) for _ in range(2))
    with pytest.raises(InputError, match="forward pass failed"):
        increase_in_confidence(model, torch.zeros(2, 1, 8, 8), arguments[1])
    assert torch.equal(first.after, second.after)  # evaluation mode: no dropout
    assert [module.training for module in model] == [True, False, True, True, True]
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())
    assert torch.equal(images, kept)
    assert images.grad is None
    assert not first.before.requires_grad


def test_a_model_that_writes_over_its_input():
    def forward(images):
        return images.mul_(0).flatten(1)[:, :2]

    images = strips((1.0, 2.0, 3.0))
    increase_in_confidence(forward, images, boxes(LEFT))
    assert torch.equal(images, strips((1.0, 2.0, 3.0)))


def test_under_inference_mode():
    model = Brightness()
    with torch.inference_mode():
        images = strips((0.5, 0.25, 0.0))
        change = increase_in_confidence(model, images, boxes(LEFT), baseline=torch.zeros(1))
    assert change.increased.tolist() == [True]
    assert not change.before.is_inference()


def test_single_precision_scores_that_are_sure_do_not_tie():
    def forward(images):
        return torch.stack([images.sum(dim=(1, 2, 3)), torch.zeros(len(images))], dim=1)

    images = strips((5.0, -0.5, 0.0)).float()
    change = increase_in_confidence(forward, images, boxes(LEFT))
    assert change.before > 0.999999
    assert change.increased.all()
    assert change.drop.tolist() == [0]


def test_no_confidence_to_lose():
    def forward(images):
        return torch.stack([images.sum(dim=(1, 2, 3)) * 1e4, torch.zeros(len(images), dtype=images.dtype)], dim=1)

    change = increase_in_confidence(forward, strips((1.0, 0.0, 0.0)), boxes(RIGHT), target=1)
    assert change.before.tolist() == [0]
    assert change.drop.tolist() == [0]


def test_table_and_part():
    change = increase_in_confidence(Brightness(), strips((0.5, 0, 0), (0.5, 0.25, 0)), boxes(NONE, LEFT))
    first, second = change.to_table()
    assert (first["empty"], first["increased"], first["area_share"]) == (True, False, 0)
    assert second == {
        "label": 0,
        "before": pytest.approx(float(softmax(2, 1, 0)[0])),
        "after": pytest.approx(float(softmax(2, 0, 0)[0])),
        "increased": True,
        "drop": 0,
        "area_share": pytest.approx(1 / 3),
        "empty": False,
    }
    assert change.where(~change.empty).share == 1


@pytest.mark.parametrize(
    ("images", "rows", "options", "error", "message"),
    [
        (torch.rand(2, 6), boxes(LEFT, LEFT), {}, InputError, r"images \(N, C, H, W\), got torch.float32 of shape"),
        (torch.ones(1, 1, 2, 6, dtype=torch.int64), boxes(LEFT), {}, InputError, "got torch.int64"),
        ((strips((1, 2, 3)),), boxes(LEFT), {}, InputError, "got tuple"),
        (torch.full((1, 1, 2, 6), NAN), boxes(LEFT), {}, InputError, "NaN or infinity in example 0"),
        (strips((1, 2, 3)), boxes(LEFT, LEFT), {}, InputError, "each image .1, at least 1., got those of 2"),
        (strips((1, 2, 3)), [boxes(LEFT, LEFT)], {}, InputError, r"one box per image, \(1, 4\), got 2 boxes"),
        (strips((1, 2, 3)), boxes((0, 0, 64, 64)), {}, InputError, r"2 x 6 pixels .*, got \(0, 0, 64, 64\)"),
        (strips((1, 2, 3)), boxes(LEFT), {"baseline": torch.zeros(4)}, InputError, r"\(1, 1, 2, 6\), got \(4,\)"),
        (strips((1, 2, 3)), boxes(LEFT), {"internal_batch_size": 0}, InputError, "at least 1, got 0"),
        (strips((1, 2, 3)), boxes(LEFT), {"target": 3}, TargetError, "from 0 to 2, got 3"),
        (strips((1, 2, 3)), boxes(LEFT), {"target": [0, 1]}, TargetError, "one class per example .1."),
        (strips((1, 2, 3)), boxes(LEFT), {"baseline": NAN}, InputError, "finite class scores, got NaN .* image 0"),
        (torch.rand(1, 1, 2, 8), boxes(LEFT), {}, InputError, r"forward pass failed on shape \(1, 1, 2, 8\)"),
    ],
)
def test_bad_input(images, rows, options, error, message):
    with pytest.raises(error, match=message):
        increase_in_confidence(Brightness(), images, rows, **options)


@pytest.mark.parametrize(
    ("output", "message"), [(lambda images: images[:1], r"got \(1, 1, 2, 6\)"), (list, "got list")]
)
def test_models_that_are_no_classifiers(output, message):
    images = strips((1, 2, 3), (1, 2, 3))
    with pytest.raises(InputError, match=rf"class scores \(2, C\), one row per example, {message}"):
        increase_in_confidence(output, images, boxes(LEFT, LEFT))
