"""The study of suspects: ranks with ties, effects that are computed once, and tables of what is there."""

import math

import pytest
import torch
from docs.scripts import loaded
from torch import nn


@pytest.fixture(scope="module")
def study():
    with loaded("cifar10", "results", "photos", "cure_cases", "suspects") as found:
        yield found["suspects"]


@pytest.fixture(scope="module")
def subject(study):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.append(nn.Linear(6, 3))
    images = torch.randn(300, 2, 7, 7)
    model.train()(images)
    model.eval()
    with torch.no_grad():
        model[5].bias -= model(images).mean(dim=0)
        labels = model(images).argmax(dim=1)
    given = study.Labelled(images, labels)
    return study.Subject(model, given, given, 4, study.KINDS)


def test_ranks_share_ties_and_put_the_unknown_last(study):
    scores = torch.tensor([3.0, 1.0, 1.0, math.nan, 5.0])
    assert [study.rank_of(scores, place) for place in range(5)] == [2, 3.5, 3.5, 5, 1]


def test_a_fault_is_ranked_by_every_arm_from_every_count(study, subject):
    found = [study.fault_ranks(subject, study.Fault(kind, seed), 5) for seed, kind in enumerate(study.KINDS)]
    harmful = [one for one in found if one["ranks"]]
    assert harmful
    for one in harmful:
        counts = {int(key.split(" | ")[1]) for key in one["ranks"]}
        assert counts <= {1, *study.COUNTS}
        assert {"suspects", "suspects without drift", "drift", "random"} <= {k.split(" | ")[0] for k in one["ranks"]}
        for ranks in one["ranks"].values():
            assert all(1 <= rank <= one["filters"] for rank in (ranks if isinstance(ranks, list) else [ranks]))
    tables = study.tables({f"ResNet-20 | {number}": one for number, one in enumerate(found)})
    assert f"ResNet-20: {len(harmful)} faults" in tables


def test_effects_are_those_of_the_model_without_the_filter(study, subject):
    filters = study.FilterProfile(subject.model)
    filters(subject.images.inputs[:2])
    effects = study.Effects(subject.model, filters.filters, subject.images[:5])
    weight = subject.model[0].weight
    before = weight.detach().clone()
    odds = [study_log_odds(subject.model, subject.images[:5])]
    with torch.no_grad():
        weight[2], bias = 0, subject.model[0].bias[2].clone()
        subject.model[0].bias[2] = 0
        odds.append(study_log_odds(subject.model, subject.images[:5]))
        weight.copy_(before)
        subject.model[0].bias[2] = bias
    torch.testing.assert_close(effects.of_one(2), (odds[1] - odds[0]).double(), atol=1e-5, rtol=1e-4)
    mean = effects.mean(torch.tensor([2, 4]), 3)
    assert mean.isnan().sum() == len(filters.filters) - 2
    assert mean[2] == effects.of_one(2)[:3].mean()


def study_log_odds(model, images):
    with torch.no_grad():
        shares = model(images.inputs).softmax(dim=1)[torch.arange(len(images)), images.labels]
    return (shares / (1 - shares)).log()


def test_shares_of_single_and_of_several_rankings(study):
    assert study.share_in_ten(10.0) == 1
    assert study.share_in_ten([1.0, 11.0, 3.0, 200.0]) == 0.5
