import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from repair.cures.small_fault import images, network
from scipy.special import expit
from torch import nn
from torch.optim import Adam
from tqdm import tqdm

from captum_paramsal import Filter
from captum_paramsal.errors import CureError, InputError, InterventionError, PatchError
from captum_paramsal.profiles import FilterParameters
from captum_paramsal.repair import AcceptanceRule, Cure, CureSettings, cure
from captum_paramsal.repair.cures.attempts import Attempts
from captum_paramsal.repair.cures.changeable import KINDS, Changeable, EditedNumbers
from captum_paramsal.repair.cures.cure import ways
from captum_paramsal.repair.cures.division import CureImages
from captum_paramsal.repair.treatment.weights import trainable_copy

FAULT = Filter("0", 2)
SETTINGS = CureSettings(count=1, steps=80, learning_rate=0.05, batch_size=16)


class SeenAttempts(Attempts):
    """Attempts that remember what they looked at."""

    def __init__(self, model, images, settings):
        super().__init__(model, images, settings, tqdm(disable=True))
        self.images, self.seen = images, []

    def _candidate(self, changeable, numbers, values):
        self.seen.append((changeable, values))
        return super()._candidate(changeable, numbers, values)


def attempts_of(model, batches, filters, settings):
    """Attempts as a cure makes them, and what they change."""
    divided = CureImages.of(model, batches, batches, settings.seed)
    parameters = FilterParameters(
        trainable_copy(model), bias=True, batch_norm=True, inputs=divided.keep.learn.inputs[:1]
    )
    several = ways(parameters, divided, filters, settings, alternatives=False)["filters"]
    return SeenAttempts(parameters.model, divided, settings), several


def leads(scores, labels):
    """By how much each label leads, one image after the other."""
    rows = zip(scores.double().tolist(), labels.tolist(), strict=True)
    return np.array([row[label] - max(row[:label] + row[label + 1 :]) for row, label in rows])


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in other)


@pytest.fixture(scope="module")
def found():
    model = network()
    batches = list(zip(*(part.split(32) for part in images(160)), strict=True))
    return model, batches, cure(model, batches, batches, settings=SETTINGS, alternatives=True, show_progress=False)


def test_the_damaged_filter_is_found_and_cured(found):
    model, _, result = found
    assert result.filters == (FAULT,)
    assert result.kept
    assert result.verdict.cured_share == 1.0
    assert result.verdict.broken_share == 0.0
    inputs, labels = images(200, seed=1)
    before = model(inputs).argmax(dim=1)
    assert (before[labels == 2] != 2).all()
    state = state_of(model)
    result.apply(model)
    assert (model(inputs).argmax(dim=1) == labels).double().mean() > 0.98
    result.revert(model)
    assert same(model.state_dict(), state)


def test_only_numbers_of_the_filters_change(found):
    _, _, result = found
    model = network()
    state = state_of(model)
    result.apply(model)
    changed = {name: (model.state_dict()[name] != state[name]) for name in state}
    assert {name for name, of in changed.items() if of.any()} == {"0.weight", "1.weight", "1.bias"}
    for name in ("0.weight", "1.weight", "1.bias"):
        assert changed[name].reshape(4, -1).any(dim=1).tolist() == [False, False, True, False]
    old, new = (
        torch.cat([of[name][2].flatten() for name in ("0.weight", "1.weight", "1.bias")])
        for of in (state, model.state_dict())
    )
    torch.testing.assert_close(result.changes, ((new - old).norm() / old.norm()).double()[None])


def test_the_parts_have_nothing_in_common_and_leave_out_what_does_not_belong(found):
    _, _, result = found
    _, labels = images(160)
    for kind, usable in (("mistakes", labels == 2), ("keep", labels != 2)):
        parts = result.parts[kind]
        together = torch.cat([parts["learn"], parts["choose"], parts["judge"]])
        assert sorted(together.tolist()) == usable.nonzero()[:, 0].tolist()
        assert parts["left out"].tolist() == (~usable).nonzero()[:, 0].tolist()
    assert len(result.verdict.cured) == len(result.parts["mistakes"]["judge"])
    assert len(result.verdict.broken) == len(result.parts["keep"]["judge"])


def test_a_patch_says_what_it_was_made_on(found):
    _, _, result = found
    assert result.patch.about["filters"] == [str(FAULT)]
    assert result.patch.about["mistakes"] == 40


def test_the_same_budget_is_spent_otherwise(found):
    _, _, result = found
    rows = result.to_table()
    assert [row["changed"] for row in rows] == ["filters", "whole network", "last layer", "norms", "random filters"]
    assert [row["numbers"] for row in rows] == [6, 40, 16, 8, 6]
    assert {row["mistakes"] for row in rows if row["status"] == "kept"} == {12}


@pytest.mark.parametrize("kept", [True, False])
def test_a_saved_cure_comes_back(found, tmp_path, kept):
    model, batches, result = found
    if not kept:
        result = cure(
            model, batches, batches, filters=[Filter("0", 0)], settings=CureSettings(steps=1), show_progress=False
        )
    result.save(tmp_path / "cure.json")
    again = Cure.load(tmp_path / "cure.json")
    assert again.to_table() == result.to_table()
    assert (again.filters, str(again), again.kept) == (result.filters, str(result), kept)
    assert all(
        torch.equal(again.parts[kind][part], places) for kind, of in result.parts.items() for part, places in of.items()
    )
    assert dict(again.context) == dict(result.context)
    if kept:
        again.apply(copied := copy.deepcopy(model))
        result.apply(other := copy.deepcopy(model))
        assert same(copied.state_dict(), other.state_dict())


def test_a_name_that_its_patch_would_take_is_refused(found, tmp_path):
    with pytest.raises(CureError, match=r"JSON file of the cure, such as '.*kept\.json', got '.*kept\.safetensors'"):
        found[2].save(tmp_path / "kept.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_model_is_left_as_it_was(found):
    model, batches, _ = found
    model.train()
    flags, state = [p.requires_grad for p in model.parameters()], state_of(model)
    try:
        cure(model, batches, batches, settings=SETTINGS, show_progress=False)
        with pytest.raises(InputError, match="steps"):
            cure(model, batches, batches, settings=CureSettings(steps=0))
        assert model.training
    finally:
        model.eval()
    assert same(model.state_dict(), state)
    assert flags == [p.requires_grad for p in model.parameters()]


def test_the_same_seed_gives_the_same_cure(found):
    model, batches, result = found
    again = cure(model, batches, batches, settings=SETTINGS, show_progress=False)
    assert all(torch.equal(bits, again.patch.bits[name]) for name, bits in result.patch.bits.items())


def test_a_refused_cure_says_why_and_has_nothing_to_apply(found):
    model, batches, _ = found
    refused = cure(
        model, batches, batches, filters=[Filter("0", 0)], settings=CureSettings(steps=1), show_progress=False
    )
    assert refused.verdict.status == "refused"
    assert str(refused).startswith("Refused: no change cured any of the 8 mistakes")
    with pytest.raises(CureError, match="Refused: no change cured"):
        refused.apply(model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_small_steps_of_half_precision_add_up(dtype):
    model = nn.Linear(4, 1, bias=False).to(dtype)
    nn.init.ones_(model.weight)
    numbers = EditedNumbers(model, Changeable.whole_network(model))
    optimizer = Adam(numbers.groups(0.002))
    ones = torch.ones(1, 4, dtype=dtype)
    for _ in range(200):
        numbers.step(optimizer, model(ones).sum())
    # The gradient is the same in each step, so that Adam goes a tenth of the rate, which half precision rounds away.
    expected = torch.full_like(model.weight, 1 - 200 * 0.0002)
    assert (model.weight - expected).abs().max() <= torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("change", ["filters", "last layer", "any"])
def test_a_model_of_half_precision_is_cured(dtype, change):
    model, (inputs, labels) = network().to(dtype), images(800)
    batches = [(inputs.to(dtype), labels)]
    found = cure(model, batches, batches, settings=replace(SETTINGS, change=change), show_progress=False)
    assert found.kept, str(found)
    found.apply(model)
    assert {value.dtype for value in model.parameters()} == {dtype}


@pytest.mark.parametrize("change", ["any", "filters", "whole network"])
def test_what_is_frozen_stays(change):
    model, (inputs, labels) = network(), images(800)
    for name in ("0.weight", "1.weight", "1.bias"):
        model.get_parameter(name).requires_grad_(False)
    batches = [(inputs, labels)]
    settings = replace(SETTINGS, change=change, learning_rate=0.5)
    found = cure(model, batches, batches, settings=settings, alternatives=True, show_progress=False)
    patched = copy.deepcopy(model)
    if found.kept:
        found.apply(patched)
    assert all(torch.equal(patched.get_parameter(f"{n}.weight"), model[n].weight) for n in (0, 1))
    refused = {one.name: one.verdict.reason for one in found.alternatives} | {found.changed: found.verdict.reason}
    assert refused["norms"] == "Refused: all numbers of the norms are frozen: they require no gradient."
    assert refused["filters"].startswith("Refused: all numbers of 0[")
    assert "frozen" not in refused["last layer"]


def test_filters_are_taken_from_what_is_not_frozen():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    model[0].requires_grad_(False)
    batches = [images(400)]
    found = cure(model, batches, batches, settings=replace(SETTINGS, count=3, steps=2), show_progress=False)
    assert [one.layer for one in found.filters] == ["2"] * 3


def test_few_mistakes_are_too_few(found):
    model, batches, _ = found
    inputs, labels = images(44)
    few = cure(model, [(inputs, labels)], batches, show_progress=False)
    assert few.verdict.status == "too few"
    assert str(few).startswith("Too few: 11 mistakes beside 33 that are right already, and at least 12 are needed")


def test_a_cure_fits_no_other_model(found):
    _, _, result = found
    with pytest.raises(PatchError, match="Nothing was changed"):
        result.apply(network(fault=1))


def test_no_right_images_are_refused(found):
    model, batches, _ = found
    inputs, labels = images(160)
    wrong = [(inputs[labels == 2], labels[labels == 2])]
    with pytest.raises(InputError, match="at least 20 images in `keep` that the model gets right, got 0 of 40"):
        cure(model, batches, wrong, show_progress=False)


def test_a_model_without_norms_or_such_a_layer_says_so():
    model = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softplus())
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4)[:, :, None, None])
        model[0].weight[2] *= -1
    batches = [images(160)]
    result = cure(model, batches, batches, filters=[FAULT], settings=SETTINGS, alternatives=True, show_progress=False)
    norms = next(one for one in result.alternatives if one.name == "norms")
    assert norms.verdict.reason == "Refused: the model has no norms to change."


def test_what_other_results_need_is_taken_from_the_models_output():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, x):
            return {"answers": self.inner(x)}

    batches = [images(160)]
    result = cure(
        Wrapped(), batches, batches, settings=SETTINGS, output=lambda out: out["answers"], show_progress=False
    )
    assert result.filters == (Filter("inner.0", 2),)
    assert result.kept


def test_a_filter_that_is_stuck_at_zero_is_moved(tmp_path):
    model = network(fault=None)
    model[1] = nn.Identity()
    with torch.no_grad():
        model[0].weight[2] = 0.0
    batches = [images(160)]
    result = cure(model, batches, batches, filters=[FAULT], settings=SETTINGS, show_progress=False)
    assert result.kept
    assert result.changes.tolist() == [float("inf")]
    result.save(tmp_path / "cure.json")
    assert Cure.load(tmp_path / "cure.json").changes.tolist() == [float("inf")]


def test_the_rule_is_the_users(found):
    model, batches, _ = found
    rule = AcceptanceRule(least_cured=1.0, level=1e-9)
    result = cure(
        model,
        batches,
        batches,
        settings=CureSettings(count=1, steps=80, learning_rate=0.05, batch_size=16, rule=rule),
        show_progress=False,
    )
    assert result.verdict.status == "refused"
    assert "which chance does as well" in str(result)


def test_a_cure_that_may_break_nothing_can_be_kept(found):
    model, batches, _ = found
    settings = replace(SETTINGS, rule=AcceptanceRule(most_broken=0.0))
    result = cure(model, batches, batches, settings=settings, show_progress=False)
    assert result.kept
    assert result.verdict.broken_share == 0.0


def test_the_whole_network_takes_a_tenth_of_a_step():
    model = network()
    rates = [
        {id(group["params"][0]): group["lr"] for group in EditedNumbers(model, numbers).groups(0.5)}
        for numbers in (Changeable.whole_network(model), Changeable.last_layer(model, classes=4))
    ]
    whole, last = rates
    assert last
    assert all(whole[key] == pytest.approx(0.1 * rate) for key, rate in last.items())


@pytest.mark.parametrize(
    ("change", "names", "numbers"),
    [
        ("norms", {"1.weight", "1.bias"}, 8),
        ("last layer", {"4.weight"}, 16),
        ("whole network", {"0.weight", "1.weight", "1.bias", "4.weight"}, 40),
    ],
)
def test_something_else_than_filters_can_be_changed_and_kept(tmp_path, change, names, numbers):
    model, batches = network(), [images(160)]
    settings = replace(SETTINGS, change=change)
    result = cure(model, batches, batches, settings=settings, show_progress=False)
    assert result.kept
    assert (result.changed, result.filters, len(result.changes)) == (change, (), 0)
    state = state_of(model)
    result.apply(model)
    assert {name for name, value in model.state_dict().items() if not torch.equal(value, state[name])} <= names
    result.revert(model)
    assert same(model.state_dict(), state)
    result.save(tmp_path / "cure.json")
    (row,) = Cure.load(tmp_path / "cure.json").to_table()
    assert (row["changed"], row["numbers"], row["status"]) == (change, numbers, "kept")


def test_what_else_the_budget_could_change_is_everything_but_what_it_changed(found):
    model, batches, _ = found
    settings = replace(SETTINGS, change="norms", steps=2)
    result = cure(model, batches, batches, settings=settings, alternatives=True, show_progress=False)
    names = [row["changed"] for row in result.to_table()]
    assert names == ["norms", "filters", "whole network", "last layer", "random filters"]


def test_the_first_filter_is_tried_alone_too(found):
    model, batches, _ = found
    settings = replace(SETTINGS, count=2)
    filters = [FAULT, Filter("0", 0)]
    result = cure(model, batches, batches, filters=filters, settings=settings, show_progress=False)
    attempts, several = attempts_of(model, batches, filters, settings)
    assert [one.count for one in several] == [6, 12]
    made = attempts.with_changes("filters", several)
    assert (made.numbers, made.size) == (result.context["numbers"], result.context["size"])
    assert (result.changes > 0).tolist() == ([True, False] if made.numbers == 6 else [True, True])
    assert {one for one, _ in attempts.seen} == set(several)
    # What was looked at is counted anew and slowly.
    choose = {"mistakes": attempts.images.mistakes.choose, "keep": attempts.images.keep.choose}
    before = leads(choose["keep"].scores, choose["keep"].labels)
    was_right = expit(before / (0.05 * before.std(ddof=1)))
    best = {}
    for one, values in attempts.seen:
        changed = copy.deepcopy(model)
        changed.load_state_dict({**changed.state_dict(), **values})
        after = {kind: leads(changed(of.inputs).detach(), of.labels) for kind, of in choose.items()}
        if (after["mistakes"] > 0).any():
            width = 0.05 * after["keep"].std(ddof=1)
            breaks = np.maximum(was_right - expit(after["keep"] / width), 0).mean()
            cures = expit(after["mistakes"] / width).sum()
            if breaks <= 0.6 * 0.005 and cures > best.get(one, (0,))[0] + 1e-9:
                best[one] = cures, values
    alone, both = (best[one] for one in several)
    assert same(made.values, (alone if both[0] - alone[0] <= 0.5 else both)[1])


def test_any_is_what_does_best_before_it_is_judged(found, tmp_path):
    model, batches, _ = found
    settings = replace(SETTINGS, change="any")
    result = cure(model, batches, batches, settings=settings, alternatives=True, show_progress=False)
    assert result.kept
    names = [row["changed"] for row in result.to_table()]
    assert names == [result.changed, *(kind for kind in KINDS if kind != result.changed), "random filters"]
    assert bool(result.filters) == (result.changed == "filters")
    alone = cure(model, batches, batches, settings=replace(settings, change=result.changed), show_progress=False)
    assert all(torch.equal(bits, alone.patch.bits[name]) for name, bits in result.patch.bits.items())
    result.save(tmp_path / "cure.json")
    again = Cure.load(tmp_path / "cure.json")
    assert (again.changed, again.to_table()) == (result.changed, result.to_table())


@pytest.mark.parametrize("ablations", [0, 10], ids=["ranked", "ablated"])
@pytest.mark.parametrize(("change", "alternatives"), [("any", False), ("any", True), ("norms", True)])
def test_what_cannot_be_changed_is_refused_by_name_beside_the_others(change, alternatives, ablations):
    model, batches = network(), [images(400, seed=3)]
    torch.nn.utils.parametrizations.weight_norm(model[0])
    settings = replace(SETTINGS, change=change, ablations=ablations)
    result = cure(model, batches, batches, settings=settings, alternatives=alternatives, show_progress=False)
    assert result.kept
    assert result.changed in KINDS[1:]
    refused = {one.name: one.verdict.reason for one in result.alternatives}["filters"]
    assert "Refused: expected filters whose numbers are parameters, but the weight of '0' is computed" in refused
    with pytest.raises(InterventionError, match="computed for each pass"):
        cure(model, batches, batches, settings=SETTINGS, show_progress=False)


def test_any_that_finds_nothing_says_so(found):
    model, batches, _ = found
    settings = replace(SETTINGS, change="any", steps=1, learning_rate=1e-9)
    result = cure(model, batches, batches, settings=settings, show_progress=False)
    assert str(result).startswith("Refused: no change cured any of the 8 mistakes")
    assert (result.changed, result.filters) == ("any", ())


def test_filters_are_refused_where_something_else_is_changed(found):
    model, batches, _ = found
    with pytest.raises(InputError, match="`filters` only where filters are changed, got 1 and 'norms'"):
        cure(model, batches, batches, filters=[FAULT], settings=CureSettings(change="norms"))
    with pytest.raises(InputError, match=r"`change` to be one of 'filters', .* got 'weights'"):
        CureSettings(change="weights")


def test_a_cure_from_before_there_was_a_choice_is_one_of_filters(found):
    _, _, result = found
    settings = {key: value for key, value in result.context["settings"].items() if key != "change"}
    context = {key: value for key, value in result.context.items() if key != "changed"} | {"settings": settings}
    assert replace(result, context=context).changed == "filters"
