import math

import pytest
import torch
from docs.scripts import loaded
from torch import nn

from captum_paramsal.profiles import FilterProfile

KINDS = ("scale", "noise", "sign", "zero", "trained")


@pytest.fixture(scope="module")
def cures():
    with loaded("cifar10", "results", "photos", "cures") as found:
        yield found["cures"]


@pytest.fixture(scope="module")
def case(cures):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()
    images = cures.Labelled(torch.rand(60, 2, 7, 7), torch.arange(60) % 3)
    return cures.Case("small", model, images, images)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_one_filters(cures, case, kind):
    model, place = cures.Fault(kind, 3).plant(case, case.given)
    one = FilterProfile(model).filters[place]
    for (name, old), new in zip(case.model.named_parameters(), model.parameters(), strict=True):
        differs = (old != new).flatten(1).any(dim=1) if old.ndim > 1 else old != new
        expected = [one.index] if name == f"{one.layer}.weight" else []
        assert differs.nonzero().flatten().tolist() == expected


def test_a_trained_fault_keeps_to_the_norms_of_its_layer(cures, case):
    model, place = cures.Fault("trained", 5).plant(case, case.given)
    one = FilterProfile(model).filters[place]
    norms = case.model.get_submodule(one.layer).weight.flatten(1).norm(dim=1)
    own = model.get_submodule(one.layer).weight[one.index].norm()
    assert norms.quantile(0.05) * 0.999 <= own <= norms.quantile(0.95) * 1.001


def test_shares_are_pooled_over_seeds(cures):
    rows = [{"cured": 3, "mistakes": 10}, {"cured": 5, "mistakes": 10}]
    assert cures.pooled(rows, "cured", "mistakes").startswith("40.0 (")
    assert cures.pooled([{"cured": 0, "mistakes": 0}], "cured", "mistakes") == "none chosen"


def test_tables_of_made_up_results(cures):
    row = {"changed": "filters", "numbers": 10, "mistakes": 20, "cured": 8, "right images": 400, "broken": 1}
    found = {
        "scenes | all mistakes | 0": {"status": "kept", "rows": [row | {"status": "kept"}]},
        "fault | 0 | scale": {"status": "kept", "rank": 3, "rows": [row | {"status": "kept"}]},
        "fault | 5 | scale": {"status": "refused", "rank": None, "rows": [row | {"status": "refused"}]},
        "fault | 1 | noise": {"status": "harmless"},
        "chance | 0": {"status": "refused"},
        "chance | 1": {"status": "kept", "third": {"before": 90, "after": 89}},
    }
    text = cures.tables(found)
    assert "| scenes all mistakes | filters | 10 | 40.0 (" in text
    assert "| scale | 1 of 2 | 1 of 2 | 1 of 2 | 40.0 (" in text
    assert "| noise |" not in text
    assert "Shuffled labels: 1 of 2 kept" in text
    assert "of these 1 worse" in text
    assert not math.isnan(float(text.split("Shuffled labels: 1 of 2 kept (")[1].split(" ")[0]))
