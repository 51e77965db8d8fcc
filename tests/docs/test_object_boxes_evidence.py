"""The script of the page on boxes that fit, on a few maps and photos of noise."""

import pytest
import torch
from docs.scripts import loaded

from captum_paramsal.functional.mass_boxes import box_of_mass

SIZE = (20, 30)


@pytest.fixture(scope="module")
def study():
    with loaded("photos", "results", "object_pointing", "object_boxes") as scripts:
        yield scripts["object_boxes"]


@pytest.fixture(scope="module")
def found(study):
    """Maps of objects that cover the middle of a photo, and half of them its left side."""
    values = torch.zeros(8, *SIZE)
    values[:4, 5:15, 8:22] = 1
    values[4:, 5:15, :15] = 1
    trace = study.Maps(values, torch.full((8,), 40), torch.tensor([[1.0, 1, 2, 2]]).expand(8, 4))
    cam = study.Maps(values, None, study.box_of(values))
    return {"Grad-CAM": cam, "CNN-Fixations": trace, "discernible neurons": trace}


@pytest.fixture(scope="module")
def photos(study):
    truth = [torch.tensor([[8.0, 5, 22, 15]])] * 4 + [torch.tensor([[0.0, 5, 15, 15]])] * 4
    return study.Photos(torch.zeros(8, 3, *SIZE), torch.zeros(8, dtype=torch.long), truth)


def test_boxes_are_those_of_the_whole_map(found):
    for name, even in (("Grad-CAM", 0.0), ("CNN-Fixations", 10 / 50)):
        maps = found[name]
        torch.testing.assert_close(maps.boxes(0.07, 10.0), box_of_mass(maps.values, 0.07, even))


def test_numbers_are_chosen_on_one_half(study, found, photos, monkeypatch):
    monkeypatch.setattr(study, "SHARES", (0.01, 0.4))
    monkeypatch.setattr(study, "VOTES", (0.0, 4000.0))
    half = torch.arange(8) % 2 == 0
    best, tried = study.chosen(found, photos, half)
    assert best == (0.01, 0.0)
    assert list(tried) == ["0.01, 0", "0.01, 4000", "0.4, 0", "0.4, 4000"]
    assert tried["0.01, 0"] == [100] * 3
    assert tried["0.01, 4000"] == [100, 0, 0]


def test_a_row_for_each_method_and_rule(study, found, photos):
    rules = study.rules(found, photos, 0.01, 0.0, 0.5)
    assert len(rules) == 2 + 2 + 4 + 4
    assert rules["fixed box in the middle"][0].tolist() == [7.5, 5, 22.5, 15]
    half, right = torch.arange(8) >= 4, torch.ones(8, dtype=torch.bool)
    cells = study.scored(rules["Grad-CAM: mass"], rules["fixed box in the middle"], photos, half, right)
    assert cells["IoU > 0.5"] == cells["of the correct"] == cells["to the fixed box"] == "100.0 (100.0 to 100.0)"
    points = study.scored(rules["CNN-Fixations: tight box of the points"], rules["whole image"], photos, half, right)
    assert (points["IoU > 0.5"], points["area"]) == ("0.0 (0.0 to 0.0)", "0")


def test_the_best_threshold_of_each_photo(study, found, photos):
    rates = study.best_piece(found, photos, torch.ones(8, dtype=torch.bool))
    assert rates == dict.fromkeys(found, "100.0 (100.0 to 100.0)")
