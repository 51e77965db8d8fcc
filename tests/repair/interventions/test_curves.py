"""Curves of knocked-out, disturbed and fine-tuned filters, against a copy of the model for every image and step."""

from dataclasses import replace

import pytest
import torch
from repair.interventions.slow_curves import slow_scores, step, zero
from torch import nn
from torch.nn import functional

from captum_paramsal import ParameterSaliency
from captum_paramsal.errors import InputError, InterventionError, ModelError
from captum_paramsal.repair import (
    ControlImages,
    InterventionCurve,
    fine_tune_curve,
    knock_out,
    knock_out_curve,
    perturb,
    perturb_curve,
    random_ranking,
)
from captum_paramsal.repair.interventions.edited_scores import EditedModel
from captum_paramsal.repair.interventions.intervention import KnockOut


class Block(nn.Module):
    """A residual block that adds in place, with a shortcut of its own, groups and batch norms."""

    def __init__(self, channels, out, groups=1):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(channels, out, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.norm(self.conv(x))
        out += self.shortcut(x)
        return self.relu(out)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1, padding_mode="reflect")
        self.relu = nn.ReLU(inplace=True)
        self.one, self.two = Block(6, 8, groups=2), Block(8, 8)
        self.branch = nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.two(self.one(self.relu(self.stem(x))))
        x = torch.cat([x, functional.relu(self.branch(x))], dim=1)
        return self.head(x.mean(dim=(2, 3)))


class Uncaptured(Residual):
    """Cannot be captured: its way depends on values."""

    def forward(self, x):
        return super().forward(x if x.sum() > 0 else x + 0.0)


class FlattenedBySize(Residual):
    """Flattens with the size of the images, which have fewer rows than what is flattened."""

    def forward(self, x):
        count = x.size(0)
        x = self.two(self.one(self.relu(self.stem(x))))
        x = torch.cat([x, functional.relu(self.branch(x))], dim=1)
        return self.head(functional.adaptive_avg_pool2d(x, 1).view(count, -1))


class WritesOverTheInput(Residual):
    def forward(self, x):
        return super().forward(x.mul_(0.9))


class UsesAWeightTwice(Residual):
    def __init__(self):
        super().__init__()
        self.two.shortcut.weight = nn.Parameter(torch.randn(8, 8, 1, 1))
        self.again = nn.Conv2d(8, 8, 1)
        self.again.weight = self.two.shortcut.weight

    def forward(self, x):
        x = self.again(self.two(self.one(self.relu(self.stem(x)))))
        x = torch.cat([x, functional.relu(self.branch(x))], dim=1)
        return self.head(x.mean(dim=(2, 3)))


NETWORKS = [Residual, Uncaptured, FlattenedBySize, WritesOverTheInput, UsesAWeightTwice]
NORMS = {"one.conv": "one.norm", "two.conv": "two.norm"}


def network(kind=Residual, seed=0):
    torch.manual_seed(seed)
    model = kind().double().eval()
    for norm in (model.one.norm, model.two.norm):
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.5, 1.5)
        nn.init.normal_(norm.weight, 1, 0.2)
        nn.init.normal_(norm.bias, 0, 0.2)
    return model


def mistakes(model, count=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 9, 7, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        predicted = model(images.clone()).argmax(dim=1)
    return images, (predicted + 1 + torch.arange(count)) % 5 if count < 4 else (predicted + 1) % 5


def pairs(filters, ranking, k):
    return [[(one.layer, one.index) for one in row] for row in filters.top(ranking, k)]


def expected(model, images, labels, order, change, **options):
    scores = slow_scores(model, images, labels, order, change, **options)
    return InterventionCurve.of("", scores, labels, torch.zeros(1), {})


def assert_same(found, wanted):
    assert torch.equal(found.corrected, wanted.corrected)
    for name in ("wrong", "true"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        pytest.param(kind, size, marks=[pytest.mark.slow] * ((number + place) % 2))
        for number, kind in enumerate(NETWORKS)
        for place, size in enumerate([1, 3])
    ],
)
def test_knocked_out_as_in_a_copy_for_each(kind, size):
    model = network(kind)
    images, labels = mistakes(model)
    filters = ParameterSaliency(model).filters
    ranking = random_ranking(filters, 3)
    found = knock_out_curve(
        model, images, labels, ranking, filters, k=12, internal_batch_size=size, show_progress=False
    )
    assert_same(found, expected(model, images, labels, pairs(filters, ranking, 12), zero))


@pytest.mark.parametrize("kind", NETWORKS)
def test_fine_tuned_as_in_a_copy_for_each(kind):
    model = network(kind)
    images, labels = mistakes(model)
    saliency = ParameterSaliency(model)
    ranking = saliency.attribute(images.clone(), labels)
    found = fine_tune_curve(
        model, images, labels, ranking, saliency.filters, k=9, learning_rate=0.7, show_progress=False
    )
    assert_same(found, expected(model, images, labels, pairs(saliency.filters, ranking, 9), step(0.7)))
    assert (found.wrong[:, -1] - found.wrong[:, 0]).abs().min() > 1e-4


@pytest.mark.parametrize("curve", [knock_out_curve, fine_tune_curve])
def test_biases_and_batch_norms(curve):
    model = network()
    images, labels = mistakes(model)
    filters = ParameterSaliency(model, layers=["one.conv", "two.conv"]).filters
    ranking = random_ranking(filters, 3, seed=4)
    found = curve(model, images, labels, ranking, filters, k=6, bias=True, batch_norm=True, show_progress=False)
    change = zero if curve is knock_out_curve else step(0.001)
    order = pairs(filters, ranking, 6)
    assert_same(found, expected(model, images, labels, order, change, bias=True, norms=NORMS))
    without = curve(model, images, labels, ranking, filters, k=6, show_progress=False)
    assert not torch.equal(without.wrong, found.wrong)


def test_rows_of_linear_layers():
    model = network()
    images, labels = mistakes(model)
    filters = ParameterSaliency(model, layers=["stem", "head"]).filters
    ranking = random_ranking(filters, 3, seed=2)
    found = knock_out_curve(model, images, labels, ranking, filters, k=11, bias=True, show_progress=False)
    assert_same(found, expected(model, images, labels, pairs(filters, ranking, 11), zero, bias=True))
    assert found.wrong[:, -1].allclose(torch.full((3,), 0.2, dtype=torch.float64))


@pytest.mark.parametrize("layer", ["attention", "deconvolution"])
def test_layers_without_channels_of_their_own(layer):
    torch.manual_seed(0)

    class Unusual(nn.Module):
        def __init__(self):
            super().__init__()
            self.deconvolution = nn.ConvTranspose2d(4, 6, 2, groups=2)
            self.attention = nn.MultiheadAttention(6, 3, batch_first=True)
            self.head = nn.Linear(6, 5)

        def forward(self, x):
            x = self.deconvolution(x).flatten(2).transpose(1, 2)
            return self.head(self.attention(x, x, x, need_weights=False)[0].mean(dim=1))

    model = Unusual().double().eval()
    images = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    labels = (model(images).argmax(dim=1) + 1) % 5
    filters = ParameterSaliency(model, layers=layer).filters
    found = knock_out_curve(
        model, images, labels, random_ranking(filters, 2), filters, k=len(filters), show_progress=False
    )
    assert found.wrong.shape == (2, len(filters) + 1)
    everything = expected(model, images, labels, [[]] * 2, zero)
    assert found.wrong[:, 0].allclose(everything.wrong[:, 0])
    with torch.no_grad():
        if layer == "attention":
            model.attention.in_proj_weight.zero_()
        else:
            model.deconvolution.weight.zero_()
        torch.testing.assert_close(found.true[:, -1], model(images).softmax(dim=1)[torch.arange(2), labels])


def test_disturbed_as_by_the_context_manager():
    model = network()
    images, labels = mistakes(model)
    filters = ParameterSaliency(model).filters
    ranking = random_ranking(filters, 3)
    options = {"scale": 0.5, "relative": True, "seed": 3}
    found = perturb_curve(model, images, labels, ranking, filters, k=7, show_progress=False, **options)
    for n, row in enumerate(filters.top(ranking, 7)):
        with perturb(model, row, **options), torch.no_grad():
            scores = model(images[n : n + 1]).softmax(dim=1)
        torch.testing.assert_close(found.true[n, -1], scores[0, labels[n]], rtol=0, atol=1e-12)
        with perturb(model, row[:3], **options), torch.no_grad():
            scores = model(images[n : n + 1]).softmax(dim=1)
        torch.testing.assert_close(found.true[n, 3], scores[0, labels[n]], rtol=0, atol=1e-12)


def test_control_images_see_the_changes_of_each_mistake():
    model = network()
    images, labels = mistakes(model, 6)
    others = torch.randn(8, 3, 9, 7, dtype=torch.float64)
    classes = model(others).argmax(dim=1)
    filters = ParameterSaliency(model).filters
    ranking = random_ranking(filters, 6)
    every = ControlImages(others, classes, per_mistake=8)
    found = knock_out_curve(
        model, images, labels, ranking, filters, k=10, controls=every, internal_batch_size=2, show_progress=False
    )
    assert torch.equal(found.broken[:, 0], torch.zeros(6, dtype=torch.float64))
    for n, row in enumerate(filters.top(ranking, 10)):
        with knock_out(model, row), torch.no_grad():
            broken = (model(others).argmax(dim=1) != classes).double().mean()
        assert found.broken[n, -1] == broken
    assert 0 < found.broken[:, -1].mean() < 1


def test_the_old_name_of_the_control_images_is_taken_with_a_warning():
    model = network()
    images, labels = mistakes(model, 1)
    filters = ParameterSaliency(model).filters
    correct = ControlImages(images, model(images).argmax(dim=1), per_mistake=1)
    arguments = (model, images, labels, random_ranking(filters, 1), filters)
    now = knock_out_curve(*arguments, k=1, controls=correct, show_progress=False)
    for curve in (knock_out_curve, perturb_curve, fine_tune_curve):
        with pytest.warns(DeprecationWarning, match=f"`bystanders` of `{curve.__name__}` is now `controls`"):
            found = curve(*arguments, k=1, bystanders=correct, show_progress=False)
        assert found.context["controls"] == 1
        assert torch.equal(found.broken.isnan(), now.broken.isnan())


def test_passes_are_shared_where_they_can_be():
    for build, shares in ((network, True), (lambda: network(Uncaptured), False)):
        model = build()
        images, labels = mistakes(model, 2)
        filters = ParameterSaliency(model).filters
        edited = EditedModel(model, KnockOut())
        rows = labels[:, None]
        edited.scores(images, [edited.order(filters[:2], image[None], rows[:1]) for image in images], rows)
        assert edited.shares_passes is shares


def test_a_hook_that_the_graph_cannot_see_ends_sharing():
    model = network()
    model.one.register_forward_hook(lambda _, __, output: output * 0.5)
    images, labels = mistakes(model)
    filters = ParameterSaliency(model).filters
    ranking = random_ranking(filters, 3)
    found = knock_out_curve(model, images, labels, ranking, filters, k=5, show_progress=False)
    assert_same(found, expected(model, images, labels, pairs(filters, ranking, 5), zero))


def test_what_is_refused():
    model = network()
    images, labels = mistakes(model)
    filters = ParameterSaliency(model).filters
    ranking = random_ranking(filters, 3)
    run = lambda **changed: knock_out_curve(  # noqa: E731 -- the call with one thing changed
        **{
            "model": model,
            "images": images,
            "labels": labels,
            "ranking": ranking,
            "filters": filters,
            "k": 3,
            "show_progress": False,
            **changed,
        }
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InterventionError, match=f"from 1 to {len(filters)}, the number of filters, got 99"):
        run(k=99)
    right = model(images).argmax(dim=1)
    with pytest.raises(InterventionError, match="got 1 images that the model gets right, the first of them number 1"):
        run(labels=torch.where(torch.arange(3) == 1, right, labels))
    broken = ranking.clone()
    broken[2, 4] = torch.nan
    with pytest.raises(InputError, match="NaN for image 2"):
        run(ranking=broken)
    with pytest.raises(InputError, match=r"of shape \(3, \d+\) or"):
        run(ranking=ranking[:, :4])
    others = ParameterSaliency(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 2))).filters
    with pytest.raises(InterventionError, match="has no layer '0'"):
        run(ranking=torch.rand(3, 4), filters=others)
    with pytest.raises(InterventionError, match="control images that the model gets right, got 3 mistakes"):
        run(controls=ControlImages(images, labels))
    with pytest.raises(InterventionError, match="per_mistake"):
        run(controls=ControlImages(images, right, per_mistake=4))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", [Residual, Uncaptured])
def test_interrupted_it_leaves_the_model_as_it_was(kind):
    model = network(kind).train()
    images, labels = mistakes(network(kind))
    filters = ParameterSaliency(model).filters
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls = []

    def interrupted(_, __):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    model.head.register_forward_pre_hook(interrupted)
    with pytest.raises(KeyboardInterrupt):
        knock_out_curve(model, images, labels, random_ranking(filters, 3), filters, k=4, show_progress=False)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_saved_read_and_turned_into_a_table(tmp_path):
    model = network()
    images, labels = mistakes(model, 6)
    filters = ParameterSaliency(model).filters
    found = knock_out_curve(model, images, labels, random_ranking(filters, 6), filters, k=4, show_progress=False)
    found.save(tmp_path / "curve.safetensors")
    again = InterventionCurve.load(tmp_path / "curve.safetensors")
    assert again.wrong.equal(found.wrong)
    assert again.context == found.context
    rows = again.to_table(at=[0, 4])
    assert [row["filters"] for row in rows] == [0, 4]
    assert rows[0]["change of wrong class"] == 0
    mean = (found.wrong[:, 4] - found.wrong[:, 0]).mean().item()
    assert rows[1]["change of wrong class"] == pytest.approx(mean)
    assert rows[1]["change of wrong class low"] <= mean <= rows[1]["change of wrong class high"]
    with pytest.raises(InterventionError, match="from 0 to 4, got 5"):
        found.to_table(at=[5])
    some = torch.tensor([True, False, True, False, False, True])
    assert found.where(some).wrong.equal(found.wrong[some])
    assert found.where(some).difference(again.where(some))["corrected"].abs().max() == 0
    with pytest.raises(InterventionError, match=r"one bool per image, \(6,\), got torch.int64 \(1,\)"):
        found.where(torch.tensor([2]))
    nothing = found.difference(again)["corrected"]
    assert torch.equal(nothing, torch.zeros(3, 5, dtype=torch.float64))
    with pytest.raises(InterventionError, match="got 6 images and 4 filters, and 3 images and 4 filters"):
        found.difference(found.where(torch.arange(6) < 3))
    rounded = replace(found, wrong=found.wrong * (1 + 1e-4))
    torch.testing.assert_close(found.difference(rounded)["corrected"], nothing)
    for other in ({"wrong": found.wrong * 0.9}, {"labels": found.labels + 1}, {"wrong": found.wrong * torch.nan}):
        with pytest.raises(InterventionError, match="same images, got 6 of 6 that differ before any filter is changed"):
            found.difference(replace(found, **other))


class ViewsMaps(nn.Module):
    """Takes the maps in the order of their memory, as older code does."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3)
        self.second = nn.Conv2d(5, 4, 3)
        self.last = nn.Linear(4 * 4 * 4, 3)

    def forward(self, x):
        x = self.second(torch.relu(self.first(x)))
        return self.last(x.view(x.shape[0], -1))


def test_a_model_that_views_its_maps_shares_passes_too():
    torch.manual_seed(0)
    model = ViewsMaps().double().eval()
    images = torch.randn(3, 3, 8, 8).double()
    labels = (model(images).argmax(dim=1) + 1) % 3
    saliency = ParameterSaliency(model, layers=["first", "second"])
    ranking = saliency.attribute(images, labels)
    edited = EditedModel(model, KnockOut())
    orders = [
        edited.order(own, image[None], label[None, None])
        for own, image, label in zip(saliency.filters.top(ranking, 4), images, labels, strict=True)
    ]
    found = edited.scores(images, orders, labels[:, None])
    assert edited.shares_passes
    runs = []
    model.first.register_forward_hook(lambda *_: runs.append(1))
    torch.testing.assert_close(edited.scores(images, orders, labels[:, None]), found)
    assert len(runs) == 1, "how it takes its maps was known"
    order = [[(one.layer, one.index) for one in own] for own in saliency.filters.top(ranking, 4)]
    torch.testing.assert_close(found, slow_scores(model, images, labels, order, zero), rtol=0, atol=1e-12)


class WithAnIdleHead(nn.Module):
    """Has a head that works in training alone."""

    def __init__(self):
        super().__init__()
        self.body = network()
        self.idle = nn.Conv2d(3, 4, 1)

    def forward(self, images):
        return self.body(images)


def test_a_step_on_filters_without_a_gradient_changes_nothing():
    model = WithAnIdleHead().double().eval()
    images, labels = mistakes(model.body)
    filters = ParameterSaliency(model, layers=["idle"]).filters
    found = fine_tune_curve(
        model, images, labels, random_ranking(filters, 3), filters, k=2, learning_rate=9.0, show_progress=False
    )
    torch.testing.assert_close(found.true, found.true[:, :1].expand(-1, 3))
    model.body.register_forward_hook(lambda _, __, scores: scores.detach())
    with pytest.raises(ModelError, match="scores without a gradient"):
        fine_tune_curve(model, images, labels, random_ranking(filters, 3), filters, k=2, show_progress=False)
