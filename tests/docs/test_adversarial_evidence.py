"""The script of the page on adversarial images, on a small network and photos of noise."""

import pytest
import torch
from docs.scripts import loaded
from torch import nn

from captum_paramsal import CNNFixations


@pytest.fixture(scope="module")
def study():
    with loaded("photos", "results", "object_pointing", "adversarial") as scripts:
        yield scripts["adversarial"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    ).eval()


@pytest.mark.parametrize("attack", ["FGSM", "PGD"])
def test_attacks_stay_within_their_bound_and_raise_the_loss(study, model, attack):
    preparation = study.Preparation(12, torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4]))
    unit = study.Unit(model, preparation).eval()
    pixels = torch.rand(6, 3, 12, 12)
    labels = unit(pixels).argmax(dim=1)
    moved = study.attacked(unit, pixels, labels, attack, 8 / 255)
    assert (moved - pixels).abs().max() <= 8 / 255 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    loss = nn.CrossEntropyLoss()
    assert loss(unit(moved), labels) > loss(unit(pixels), labels)


def test_what_is_compared(study, model):
    images = dict.fromkeys(("clean", "noise", "attacked"), torch.rand(3, 3, 12, 12))
    classes = {"true": torch.tensor([0, 1, 2]), "reached": torch.tensor([1, 2, 3])}
    boxes = [torch.tensor([[0.0, 0, 12, 12]])] * 3
    result = study.compared(CNNFixations(model).trace, images, classes, boxes, "test")
    assert result.keys() == study.CONDITIONS.keys()
    same = result["noise of the same size, true class"]
    assert same["likeness"] == pytest.approx([1.0] * 3)
    assert same["overlaps"]["4"] == [1.0] * 3
    assert result["clean, class reached"]["overlaps"]["output"] == [0.0] * 3
    tables = study.tables({"CNN-Fixations": result})
    assert "attacked, true class - clean, true class: CNN-Fixations +0.0 (+0.0 to +0.0)" in tables
    assert "| output | 100.0 (100.0 to 100.0) |" in study.overlap_table(result)
