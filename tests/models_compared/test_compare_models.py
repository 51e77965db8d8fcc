from copy import deepcopy
from dataclasses import replace
from math import isnan

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from captum_paramsal import ModelComparison, compare_models
from captum_paramsal.errors import InputError, SourceError
from captum_paramsal.files.kinds import MODEL_COMPARISON


def checkpoints():
    torch.manual_seed(0)
    a = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(5 * 16, 3)
    ).double()
    b = deepcopy(a)
    with torch.no_grad():
        for parameter in b.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        b[3].weight[2] *= -3
        b[1].running_mean += 0.1
    return a.eval(), b.eval()


@pytest.fixture(scope="module")
def case():
    a, b = checkpoints()
    images = torch.randn(40, 3, 8, 8, dtype=torch.float64)
    labels = a(images).argmax(dim=1)
    return a, b, images, labels, compare_models(a, b, images, labels, steps=12, internal_batch_size=7)


def test_the_planted_filter_has_moved_most(case):
    result = case[-1]
    assert str(result.top(1)[0].filter) == "3[2]"
    assert result.to_table(1)[0]["rank"] == 1
    assert len(result.only_a)
    assert not len(result.only_b)
    assert len(result.only_a) + len(result.both) == len(result)
    assert "3[2]" in repr(result)
    assert "3[2]" in result._repr_html_()


def test_shares_are_the_integral_filter_by_filter(case):
    a, b, images, labels, result = case
    some = result.only_a
    middle = deepcopy(a)
    shares = torch.zeros(9, dtype=torch.float64)
    for place in (torch.arange(60) + 0.5) / 60:
        with torch.no_grad():
            states = (model.state_dict().values() for model in (middle, a, b))
            for between, *ends in zip(*states, strict=True):
                if between.is_floating_point():
                    between.copy_(ends[0] + place * (ends[1] - ends[0]))
        weights = [middle[0].weight, middle[3].weight]
        loss = nn.functional.cross_entropy(middle(images[some]), labels[some])
        steps = zip(torch.autograd.grad(loss, weights), (0, 3), strict=True)
        shares += torch.cat([(g * (b[i].weight - a[i].weight)).flatten(1).sum(1) for g, i in steps]).detach() / 60
    torch.testing.assert_close(result.share[0], shares, rtol=1e-3, atol=1e-4)
    assert result.share[1].isnan().all()


def test_shares_of_all_that_differs_are_the_difference_in_loss():
    a, b = checkpoints()
    with torch.no_grad():
        for place in (0, 1, 3, 5):
            for name, tensor in b[place].state_dict().items():
                if place in (1, 5) or name == "bias":
                    tensor.copy_(a[place].state_dict()[name])
    images = torch.randn(40, 3, 8, 8, dtype=torch.float64)
    result = compare_models(a, b, images, a(images).argmax(dim=1), steps=12)
    assert result.loss_difference[0] > 0
    torch.testing.assert_close(result.rest[0], torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-6)


def parts_of(result):
    return {row["part"]: row["only_a"] for row in result.loss_table()}


def test_every_part_has_its_share_and_all_of_them_are_the_difference(case):
    parts = parts_of(case[-1])
    assert sum(parts.values()) == pytest.approx(float(case[-1].loss_difference[0]), rel=1e-12)
    assert abs(parts["left over"]) < 1e-5
    assert all(abs(parts[name]) > 1e-3 for name in ("filters", "norm weights", "norm statistics", "other parameters"))


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), FrozenBatchNorm2d(4)])
def test_statistics_that_alone_differ_are_all_of_it(norm):
    torch.manual_seed(0)
    a = nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 3)).double().eval()
    b = deepcopy(a)
    b[1].running_mean += torch.tensor([0.0, 0.5, -1.0, 0.3])
    b[1].running_var *= torch.tensor([1.0, 0.5, 3.0, 1.0])
    images = torch.randn(60, 3, 8, 8, dtype=torch.float64)
    result = compare_models(a, b, images, a(images).argmax(dim=1), steps=20)
    parts = parts_of(result)
    assert result.loss_difference[0] > 0.01
    assert parts["norm statistics"] == pytest.approx(float(result.loss_difference[0]), rel=1e-4)
    assert parts["filters"] == parts["norm weights"] == parts["other parameters"] == 0
    assert result.moved_norms == ["1"]
    widths = torch.tensor([1.0, 0.5, 3.0, 1.0], dtype=torch.float64)
    expected = torch.tensor([0.0, 0.25, 1.0, 0.09], dtype=torch.float64) + (widths.log() / 2).square()
    torch.testing.assert_close(result.norm_shift, expected.mean().sqrt()[None], rtol=1e-4, atol=0)
    assert not result.change.any()


class NormalizedConv2d(nn.Conv2d):
    """Called like a norm, and none."""


class OwnNorm(nn.Module):
    """With statistics that it uses in its own way."""

    def __init__(self, channels):
        super().__init__()
        self.eps = 0.1
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        return x / (1 + self.running_mean.view(1, -1, 1, 1).abs())


def test_what_is_called_a_norm_and_is_none():
    torch.manual_seed(0)
    layers = [NormalizedConv2d(3, 4, 3), OwnNorm(4), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 3)]
    a = nn.Sequential(*layers).double().eval()
    b = deepcopy(a)
    b[0].weight.data[1] *= -2
    b[1].running_mean += 0.5
    images = torch.randn(80, 3, 8, 8, dtype=torch.float64)
    result = compare_models(a, b, images, a(images).argmax(dim=1), steps=20)
    assert result.norms == ()
    assert result.context["left_out"] == ("1.running_mean",)
    parts = parts_of(result)
    assert parts["norm weights"] == parts["norm statistics"] == 0
    assert abs(parts["filters"]) > 1e-2
    assert abs(parts["left over"]) > 1e-2
    assert str(result.top(1)[0].filter) == "0[1]"


def test_a_buffer_without_a_share_is_named():
    class Shifted(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3))
            self.register_buffer("shift", torch.zeros(3))

        def forward(self, x):
            return super().forward(x) + self.shift

    torch.manual_seed(0)
    a = Shifted().double().eval()
    b = deepcopy(a)
    b.shift += torch.tensor([0.0, 1.0, 0.0])
    images = torch.randn(60, 3, 8, 8, dtype=torch.float64)
    result = compare_models(a, b, images, a(images).argmax(dim=1), steps=2)
    assert result.context["left_out"] == ("shift",)
    assert parts_of(result)["left over"] == float(result.loss_difference[0]) != 0


def test_a_file_of_version_1_says_nothing_of_norms(case, tmp_path):
    result = case[-1]
    old = ("labels", "predicted_a", "predicted_b", "change", "share", "loss_difference")
    content = {"filters": dict(result.filters.counts), "parts": {}, "bias": False, "context": {}}
    kind = replace(MODEL_COMPARISON, versions=(1,))
    kind.save(tmp_path / "old.safetensors", {name: getattr(result, name) for name in old}, content)
    loaded = ModelComparison.load(tmp_path / "old.safetensors")
    torch.testing.assert_close(loaded.rest, result.rest, equal_nan=True)
    assert parts_of(loaded)["filters"] == parts_of(result)["filters"]
    assert isnan(parts_of(loaded)["norm statistics"])


def test_it_is_saved_and_loaded(case, tmp_path):
    result = case[-1]
    result.save(tmp_path / "models.safetensors")
    loaded = ModelComparison.load(tmp_path / "models.safetensors")
    assert str(loaded.to_table()) == str(result.to_table())
    assert loaded.filters == result.filters
    with pytest.raises(SourceError, match="model comparison"):
        ModelComparison.load(tmp_path / "other.safetensors")


def test_models_are_left_as_they_were(case):
    a, b = checkpoints()
    for model, fresh in zip(case[:2], (a, b), strict=True):
        assert all(x.equal(y) for x, y in zip(model.state_dict().values(), fresh.state_dict().values(), strict=True))
        assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_the_same_checkpoint_twice_differs_nowhere(case):
    a, _, images, labels, _ = case
    result = compare_models(a, a, images, labels)
    assert not result.change.any()
    assert len(result.both) == len(result)
    with pytest.raises(InputError, match="only a gets right"):
        result.top(by="loss")


def test_what_cannot_be_compared_is_refused(case):
    a, b, images, labels, result = case
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)).double()
    with pytest.raises(InputError, match="one architecture"):
        compare_models(a, other, images, labels)
    with pytest.raises(InputError, match="`steps`"):
        compare_models(a, b, images, labels, steps=0)
    with pytest.raises(InputError, match="`labels`"):
        compare_models(a, b, images, None)
    with pytest.raises(InputError, match="'change' or 'loss'"):
        result.top(by="weight")
