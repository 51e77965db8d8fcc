import copy

import pytest
import torch
from repair.small_models import CHANNELS, CLASSES, Small, batches, drawn, labelled, relevant, same, state
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_paramsal.repair import Constraints, treat
from captum_paramsal.repair.treatment.strengths import MEASURED_BATCHES

QUIET = {"show_progress": False}


def constraints(**options):
    return Constraints("features.3", relevant(), **options)


def treated(model=None, wanted=None, **options):
    model = Small() if model is None else model
    chosen = {"epochs": 2, "learning_rate": 0.2} | QUIET | options
    return treat(model, batches(), batches(seed=1, foreground=False), wanted, **chosen)


def accuracy(model, data):
    was = {name: module.training for name, module in model.named_modules()}
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(images).argmax(1) == labels for images, labels, *_ in data])
    for name, module in model.named_modules():
        module.training = was[name]
    return right.double().mean().item()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("wanted", [None, constraints()])
def test_nothing_is_left_behind_on_the_given_model(training, wanted):
    model = Small().train(training)
    model.features[0].bias.requires_grad_(False)
    model.classifier.weight.grad = drawn(CLASSES, CHANNELS)
    model.features[1].train(not training)
    before = state(model)
    grad = model.classifier.weight.grad.clone()
    result = treated(model, wanted)
    assert same(state(model), before)
    assert torch.equal(model.classifier.weight.grad, grad)
    assert result.model is not model
    assert {n: m.training for n, m in result.model.named_modules()} == before[2]
    assert state(result.model)[3] == 0
    assert all(p.grad is None for p in result.model.parameters())
    assert torch.equal(result.model.features[0].bias, model.features[0].bias)
    assert not torch.equal(result.model.classifier.weight, model.classifier.weight)


def test_the_result_says_what_the_models_say():
    model = Small().eval()
    result = treated(model, constraints(channel=0.1, space=0.1), epochs=8)
    data = batches(seed=1)
    assert result.before.accuracy == pytest.approx(accuracy(model, data))
    assert result.after.accuracy == pytest.approx(accuracy(result.model, data))
    assert result.after.accuracy > result.before.accuracy
    assert len(result.cured) - len(result.broken) == round(24 * (result.after.accuracy - result.before.accuracy))
    assert [row["epoch"] for row in result.history] == [*range(9)]
    assert result.history[result.best_epoch]["validation_accuracy"] == result.after.accuracy
    assert {"loss", "channel", "space", "total"} <= {*result.history[1]}
    patched = copy.deepcopy(model)
    result.patch.apply(patched)
    assert same(state(patched)[0], state(result.model)[0])


def test_one_step_is_the_gradient_of_loss_and_weighted_constraints():
    images, labels, foreground = (part.double() if part.is_floating_point() else part for part in labelled(8))
    model = Small().double()
    wanted = constraints(channel=0.5, space=0.25, relative=False)
    result = treat(
        model,
        [(images, labels, foreground)],
        [(images, labels)],
        wanted,
        epochs=1,
        learning_rate=0.1,
        momentum=0,
        weight_decay=0,
        allow_worse=True,
        **QUIET,
    )
    assert result.weights == {"channel": 0.5, "space": 0.25}
    by_hand = copy.deepcopy(model).eval()
    maps = by_hand.features[:4](images)
    scores = by_hand.classifier(maps.relu().mean(dim=(2, 3)))
    terms = wanted.penalties(scores, maps, labels, foreground)
    loss = nn.functional.cross_entropy(scores, labels) + 0.5 * terms["channel"] + 0.25 * terms["space"]
    for parameter, gradient in zip(
        by_hand.parameters(), torch.autograd.grad(loss, [*by_hand.parameters()]), strict=True
    ):
        parameter.data -= 0.1 * gradient
    for name, value in by_hand.named_parameters():
        torch.testing.assert_close(dict(result.model.named_parameters())[name], value)


def test_a_relative_strength_makes_a_constraint_as_large_as_the_loss_before():
    model = Small().eval()
    data = batches(count=8 * (MEASURED_BATCHES + 2))
    result = treat(model, data, batches(seed=1), constraints(channel=2.0, space=0.5), epochs=1, **QUIET)
    images, labels, foreground = (torch.cat(parts) for parts in zip(*data[:MEASURED_BATCHES], strict=True))
    maps = model.features[:4](images)
    scores = model.classifier(maps.relu().mean(dim=(2, 3)))
    terms = constraints().penalties(scores, maps, labels, foreground)
    loss = nn.functional.cross_entropy(scores, labels)
    assert result.weights["channel"] * terms["channel"].item() == pytest.approx(2 * loss.item(), rel=1e-5)
    assert result.weights["space"] * terms["space"].item() == pytest.approx(0.5 * loss.item(), rel=1e-5)


def test_a_constraint_that_only_late_batches_show_is_measured_too():
    data = [part[:2] for part in batches(count=8 * (MEASURED_BATCHES + 3))]
    data[-1] = batches()[0]
    result = treat(Small(), data, batches(seed=1), Constraints("features.3"), epochs=1, **QUIET)
    assert result.weights["space"] > 0
    assert result.history[1]["space"] > 0


@pytest.mark.parametrize("name", ["channel", "space"])
def test_a_strong_constraint_becomes_small(name):
    strengths = {"channel": 0.0, "space": 0.0} | {name: 20.0}
    with_it = treated(wanted=constraints(**strengths), epochs=6, weight_decay=0.0)
    assert with_it.history[-1][name] < 0.5 * with_it.history[1][name]
    assert [*with_it.weights] == [name]


def test_strengths_of_zero_are_plain_fine_tuning():
    plain, none = treated(), treated(wanted=constraints(channel=0.0, space=0.0))
    assert same(state(plain.model)[0], state(none.model)[0])
    assert plain.history == none.history


def test_a_model_that_would_become_worse_is_not_returned():
    model = treated(epochs=5).model
    harmful = {"learning_rate": 30.0, "momentum": 0.0, "epochs": 2}
    kept = treated(model, **harmful)
    assert kept.best_epoch == 0
    assert kept.patch.to_table() == []
    assert same(state(kept.model)[0], state(model)[0])
    assert (len(kept.cured), len(kept.broken), kept.p_value) == (0, 0, 1.0)
    worse = treated(model, allow_worse=True, **harmful)
    assert worse.best_epoch in {1, 2}
    assert worse.after.accuracy < worse.before.accuracy
    assert worse.p_value < 0.05


def test_the_best_epoch_is_chosen_on_validation_images_where_there_are_some():
    result = treated(validation_batches=batches(seed=2, foreground=False), epochs=4)
    assert result.selected_on == "validation"
    assert treated().selected_on == "held-out"
    ranks = [(row["validation_accuracy"], -row["validation_loss"]) for row in result.history]
    assert ranks.index(max(ranks)) == result.best_epoch
    assert ranks[result.best_epoch][0] == pytest.approx(accuracy(result.model, batches(seed=2)))
    assert result.after.accuracy == pytest.approx(accuracy(result.model, batches(seed=1)))


@pytest.mark.parametrize("freeze", [True, False])
def test_statistics_of_batch_norms_stay_or_go_on(freeze):
    model = Small()
    norm = treated(model, freeze_batch_norm=freeze).model.features[1]
    assert torch.equal(norm.running_mean, model.features[1].running_mean) == freeze
    assert torch.equal(norm.num_batches_tracked, model.features[1].num_batches_tracked) == freeze
    assert not torch.equal(norm.weight, model.features[1].weight)


def test_a_shuffling_loader_repeats_with_the_seed_and_is_left_as_it_was():
    generator = torch.Generator().manual_seed(5)
    data = TensorDataset(*labelled(24))
    loaders = [
        lambda: DataLoader(data, 8, shuffle=True),
        lambda: DataLoader(data, 8, shuffle=True, generator=generator),
    ]
    before = torch.get_rng_state(), generator.get_state()
    for make in loaders:
        one, two, other = (
            treat(Small(), make(), batches(seed=1), constraints(), epochs=2, learning_rate=0.2, seed=seed, **QUIET)
            for seed in (0, 0, 1)
        )
        assert same(state(one.model)[0], state(two.model)[0])
        assert not same(state(one.model)[0], state(other.model)[0])
        assert one.history[1] != one.history[2]
        treat(Small(), make(), batches(seed=1), epochs=1, **QUIET)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(generator.get_state(), before[1])


def test_held_out_images_in_random_order_are_the_same_before_and_after():
    loader = DataLoader(TensorDataset(*labelled(24, seed=1)[:2]), 5, shuffle=True)
    result = treat(Small(), batches(), loader, epochs=1, learning_rate=0.2, **QUIET)
    assert torch.equal(result.before.labels, result.after.labels)
    assert result.after.accuracy == pytest.approx(accuracy(result.model, batches(seed=1)))


def test_another_optimizer_with_the_same_schedule():
    rates = []

    class Noted(torch.optim.Adam):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    treated(optimizer=lambda parameters: Noted(parameters, lr=0.01))
    expected = [0.005 * (1 + torch.tensor(torch.pi * n / 6).cos().item()) for n in range(6)]
    assert rates == pytest.approx(expected, abs=1e-8)


def test_modes_around_do_not_matter():
    expected = treated(wanted=constraints())
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert same(state(treated(wanted=constraints()).model)[0], state(expected.model)[0])


def test_wrapped_and_half_frozen_models_are_treated():
    model = Small()
    model.features[:3].requires_grad_(False)
    result = treated(nn.DataParallel(model), constraints())
    assert isinstance(result.model, Small)
    assert {row["tensor"] for row in result.patch.to_table()} <= {
        "features.3.weight",
        "features.3.bias",
        "classifier.weight",
        "classifier.bias",
    }


def test_a_single_epoch_takes_batches_that_come_once():
    once = treat(Small(), iter(batches()), batches(seed=1), constraints(), epochs=1, learning_rate=0.2, **QUIET)
    assert same(state(once.model)[0], state(treated(wanted=constraints(), epochs=1).model)[0])


def test_inputs_that_require_gradients_get_none():
    data = [(images.requires_grad_(), labels, mask) for images, labels, mask in batches()]
    treat(Small(), data, batches(seed=1), constraints(), epochs=1, **QUIET)
    assert all(images.grad is None for images, *_ in data)
