from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from docs.scripts import loaded
from repair.cures.small_fault import images, network
from torch import nn

from captum_paramsal.profiles import FilterProfile
from captum_paramsal.repair import CureSettings, cure

KINDS = ("scale", "noise", "sign", "zero", "trained")
SETTINGS = CureSettings(count=1, steps=40, learning_rate=0.05, batch_size=16, every=20)


@pytest.fixture(scope="module")
def study():
    names = ("cifar10", "results", "photos", "cure_cases", "cure_ways", "cure_tables", "cures")
    with loaded(*names) as found:
        yield SimpleNamespace(**found)


@pytest.fixture(scope="module")
def case(study):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()
    some = study.cure_cases.Labelled(torch.rand(60, 2, 7, 7), torch.arange(60) % 3)
    return study.cure_cases.Case("small", model, some, some)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_one_filters(study, case, kind):
    model, place = study.cure_cases.Fault(kind, 3).plant(case, case.given)
    one = FilterProfile(model).filters[place]
    for (name, old), new in zip(case.model.named_parameters(), model.parameters(), strict=True):
        differs = (old != new).flatten(1).any(dim=1) if old.ndim > 1 else old != new
        expected = [one.index] if name == f"{one.layer}.weight" else []
        assert differs.nonzero().flatten().tolist() == expected


def test_a_trained_fault_keeps_to_the_norms_of_its_layer(study, case):
    model, place = study.cure_cases.Fault("trained", 5).plant(case, case.given)
    one = FilterProfile(model).filters[place]
    norms = case.model.get_submodule(one.layer).weight.flatten(1).norm(dim=1)
    own = model.get_submodule(one.layer).weight[one.index].norm()
    assert norms.quantile(0.05) * 0.999 <= own <= norms.quantile(0.95) * 1.001


@pytest.fixture(scope="module")
def by_every_way(study):
    of = study.cure_cases
    damaged = of.Case("fault", network(), of.Labelled(*images(160)), of.Labelled(*images(200, seed=1)))
    return damaged, study.cure_ways.all_ways(damaged, damaged.mistakes(), SETTINGS)


def test_every_way_is_what_a_cure_says(by_every_way):
    damaged, found = by_every_way
    wrong = damaged.mistakes()
    made = cure(
        damaged.model,
        damaged.given[wrong].batches(),
        damaged.given[~wrong].batches(),
        settings=SETTINGS,
        alternatives=True,
        show_progress=False,
    )
    rows = [{name: value for name, value in row.items() if name in made.to_table()[0]} for row in found["rows"]]
    *as_cured, long_steps, any_of_them = rows
    assert as_cured == made.to_table()
    at_once = cure(
        damaged.model,
        damaged.given[wrong].batches(),
        damaged.given[~wrong].batches(),
        settings=replace(SETTINGS, change="any"),
        show_progress=False,
    )
    assert any_of_them == at_once.to_table()[0] | {"changed": "any"}
    assert found["rows"][-1]["chosen"] == at_once.changed
    again = cure(
        damaged.model,
        damaged.given[wrong].batches(),
        damaged.given[~wrong].batches(),
        settings=replace(SETTINGS, change="whole network", learning_rate=10 * SETTINGS.learning_rate),
        show_progress=False,
    )
    assert long_steps == again.to_table()[0] | {"changed": "whole network, steps of the others"}
    assert (found["status"], found["reason"]) == (made.verdict.status, str(made))
    assert found["filters"] == [str(one) for one in made.filters]


def test_the_third_set_is_counted_with_the_kept_numbers(study, by_every_way):
    damaged, found = by_every_way
    wrong = damaged.mistakes()
    made = cure(
        damaged.model,
        damaged.given[wrong].batches(),
        damaged.given[~wrong].batches(),
        settings=SETTINGS,
        show_progress=False,
    )
    assert made.kept
    assert found["rows"][0]["third"] == study.cures.outcome(damaged, made)["third"]


def test_no_way_breaks_more_than_its_level(by_every_way):
    for row in by_every_way[1]["rows"]:
        of = [row["levels"][level] for level in ("0.0025", "0.005", "0.01")]
        assert all(one["broken"] <= float(level) * one["right images"] for level, one in row["levels"].items())
        assert all(one["cured"] <= one["mistakes"] for one in of)
        assert all(one["third"]["images"] == 200 for one in of)


def test_the_state_at_a_level_is_the_one_that_cures_most_choosing_mistakes_of_those_that_break_few(study):
    state, at = study.cure_ways.State, study.cure_ways.at_level
    few, more, same, too_many = (state({}, *counts) for counts in ((2, 9, 0), (5, 1, 2), (5, 3, 1), (9, 9, 3)))
    states = [few, more, same, too_many]
    assert at(states, 0.0, 200) is few
    assert at(states, 0.01, 200) is same
    assert at(states, 0.02, 200) is too_many
    assert at([state({}, 0, 4, 0)], 0.01, 200) is None


def test_numbers_as_they_were_change_nothing_on_the_third_set(study, by_every_way):
    damaged, _ = by_every_way
    numbers = study.cure_ways.EditedNumbers(damaged.model, study.cure_ways.Changeable.norms(damaged.model))
    counts = study.cure_ways.ThirdSet(damaged, damaged.model).counts(numbers, numbers.values())
    assert counts == {"images": 200, "before": 150, "after": 150, "cured": 0, "broken": 0}


def test_shares_are_pooled_over_seeds(study):
    rows = [{"cured": 3, "mistakes": 10}, {"cured": 5, "mistakes": 10}]
    assert study.cure_tables.pooled(rows, "cured", "mistakes").startswith("40.0 (")
    assert study.cure_tables.pooled([{"cured": 0, "mistakes": 0}], "cured", "mistakes") == "none chosen"


def at_levels(cured):
    third = {"images": 100, "before": 80, "after": 84, "cured": 5, "broken": 1}
    of = {"mistakes": 20, "right images": 400, "broken": 1, "third": third}
    return {level: of | {"cured": hits} for level, hits in zip(("0.0025", "0.005", "0.01"), cured, strict=True)}


def test_tables_of_made_up_results(study):
    row = {"changed": "filters", "numbers": 10, "mistakes": 20, "cured": 16, "right images": 400, "broken": 1}
    kept, refused = row | {"status": "kept"}, row | {"status": "refused", "cured": 4}
    none = kept | {"status": "refused", "mistakes": 0, "cured": 0, "right images": 0, "broken": 0}
    missing = none | {"changed": "norms", "numbers": 0}
    judges = {"judges": 20, "right judges": 400}
    found = {
        "scenes | all mistakes | 0": {"status": "kept", "rows": [kept | {"levels": at_levels([2, 4, 6])}, missing]},
        "scenes | all mistakes | 1": {"status": "refused", "rows": [none]},
        "fault | 0 | scale": {"status": "kept", "rank": 3, "rows": [kept], **judges},
        "fault | 5 | scale": {"status": "refused", "rank": None, "rows": [none], **judges},
        "fault | 1 | noise": {"status": "harmless"},
        "ways | 0 | scale": {"status": "kept", "rows": [kept | {"levels": at_levels([2, 16, 18])}]},
        "ways | 2 | sign": {"status": "kept", "rows": [refused | {"levels": at_levels([0, 4, 8])}]},
        "chance | 0": {"status": "refused"},
        "chance | 1": {"status": "kept", "third": {"before": 90, "after": 89}},
    }
    text = study.cure_tables.tables(found)
    assert "| scenes, all mistakes | filters | 10 | 80.0 (" in text
    assert "| 1 of 2 | 1 of 2 |" in text
    assert "| scenes, all mistakes | norms" not in text
    assert "| scenes, all mistakes | filters | 1 | 10.0 (" in text
    assert "| scale | 1 of 2 | 1 of 2 | 1 of 2 | 40.0 (" in text  # the one without a state cures nothing
    assert "| noise |" not in text
    assert "| filters | 1 of 2 | 5.0 (" in text
    assert "| 1 of 2 | 25.0 (" in text
    assert "Shuffled labels: 1 of 2 kept" in text
    assert "of these 1 worse" in text
