"""The script of the page on two checkpoints, on images of noise."""

import json

import pytest
import torch
from docs.scripts import loaded
from torch import nn

NAMES = ("photos", "results", "cifar10", "two_models")


@pytest.fixture(scope="module")
def study():
    with loaded(*NAMES) as found:
        yield found["two_models"]


def tiny(_):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 16, 3)).eval()


def noise(_, limit):
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        images = torch.randn(limit or 60, 3, 8, 8, generator=generator)
        labels = tiny(None)(images).argmax(dim=1)
        labels[::4] = (labels[::4] + 1) % 3
        yield images, labels


@pytest.mark.slow
def test_the_whole_study(study, tmp_path, monkeypatch):
    subject = study.Subject(tiny, noise, 0.05, 2, 20, (("0", 2), ("3", 1), ("3", 2)))
    monkeypatch.setitem(study.NETWORKS, "resnet20", subject)
    study.main(["--work", str(tmp_path), "--explained", "6"])
    known = json.loads((tmp_path / "two_models, resnet20.json").read_text("utf-8"))
    assert [*known] == [
        "trained further", "0[2] damaged", "3[1] damaged", "3[2] damaged", "trained further, 3[1] damaged",
    ]  # fmt: skip
    assert known["3[1] damaged"]["moved"] == ["3[1]"]
    assert sum(known["trained further"]["counts"].values()) == 60
    text = (tmp_path / "two_models, resnet20.md").read_text("utf-8")
    assert text.count("| neurons in common, all layers |") == 5
    assert "| trained further, 3[1] damaged |" in text
    assert (tmp_path / "two_models_resnet20.png").read_bytes().startswith(b"\x89PNG")


def test_a_damaged_copy_differs_in_one_filter(study):
    model = tiny(None)
    other = study.damaged(model, "3", 1)
    same = [torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)]
    assert same.count(False) == 1
    torch.testing.assert_close(other[3].weight[1], study.DAMAGE * model[3].weight[1])
    assert torch.equal(other[3].weight[2], model[3].weight[2])


def test_training_changes_the_copy_alone(study):
    model = tiny(None)
    images, labels = next(noise(None, 40))
    other = study.trained_further(model, images, labels, study.Subject(tiny, noise, 0.05, 1, 20, ()))
    assert torch.equal(model[0].weight, tiny(None)[0].weight)
    assert not torch.equal(other[0].weight, model[0].weight)
    assert not torch.equal(other[1].running_mean, model[1].running_mean)
    assert not other.training


def test_cells(study):
    assert study.cell([0.5, -0.25, 1.0]) == "+0.50 (-0.25 to +1.00)"
    assert study.cell([0.5, 0.25, 1.0], signed=False) == "0.50 (0.25 to 1.00)"
    assert study.cell(None) == ""
