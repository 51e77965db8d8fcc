"""How well domains are told apart by features, on features of known distributions."""

import numpy as np
import pytest
import torch
from docs.scripts import loaded
from torch import nn


@pytest.fixture(scope="module")
def scripts():
    with loaded("results", "domain_features") as found:
        yield found


@pytest.fixture(scope="module")
def script(scripts):
    return scripts["domain_features"]


def test_auc(scripts):
    results, positive = scripts["results"], np.array([False, True, False, True])
    assert results.auc(np.array([1.0, 4.0, 2.0, 3.0]), positive) == 1
    assert results.auc(np.ones(4), positive) == 0.5
    value, low, high = results.auc_interval(np.random.default_rng(0).random(300), np.arange(300) % 2 == 0)
    assert low < value < high
    assert low < 0.5 < high


def test_penultimate_features_are_what_the_last_layer_takes(script):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    inputs = torch.randn(5, 3)
    rows = script.penultimate(model, [(inputs[:3], None), (inputs[3:], None)])
    torch.testing.assert_close(rows, model[1](model[0](inputs)))
    assert not model[2]._forward_pre_hooks


def domains_of(gap, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    one, two, outside = torch.randn(3, 400, 5, generator=generator)
    return {"one": one, "two": two}, scale * outside + torch.tensor([gap, 0, 0, 0, 0])


def test_a_shift_is_seen_by_the_classifier(script):
    found = script.separations(*domains_of(2.0))
    assert list(found) == ["held out", "random half", "one", "two"]
    # Two normal distributions whose means are 2 deviations apart.
    assert found["held out"]["linear"][0] == pytest.approx(0.921, abs=0.03)
    assert found["held out"]["distance"][0] > 0.6
    for name in ("random half", "one", "two"):
        assert all(low < 0.5 < high for _, low, high in found[name].values())


def test_a_wider_domain_is_seen_by_the_distance_alone(script):
    seen, held_out = domains_of(0.0, 3.0)
    found = script.told_apart(torch.cat(list(seen.values())), held_out)
    assert found["distance"][0] > 0.95
    assert found["linear"][1] < 0.55


def test_table_and_picture(script):
    area = {"linear": [0.9, 0.8, 1.0], "distance": [0.6, 0.5, 0.7]}
    lines = script.feature_table({"mnist": {"held out": area}, "pacs": {"held out": area, "photo": area}}).splitlines()
    assert lines[0] == "| network | told apart by | held out | photo |"
    assert lines[2] == "| mnist | linear | 90.0 (80.0 to 100.0) |  |"
    assert lines[5] == "| pacs | distance | 60.0 (50.0 to 70.0) | 60.0 (50.0 to 70.0) |"
    seen, held_out = domains_of(2.0)
    assert script.feature_picture({"pacs": {**seen, "sketch": held_out}}).startswith(b"\x89PNG")
