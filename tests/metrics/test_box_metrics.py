import pytest
import torch
from metrics.small_cases import case_with, small_model

from captum_paramsal.errors import InputError
from captum_paramsal.metrics import BoxOverlap, IncreaseInConfidence, Pointing, box_of, increase_in_confidence, iou

NAN = torch.nan
BOXES = [
    torch.tensor([[2.0, 1.0, 4.0, 3.0]]),
    torch.tensor([[0.0, 0.0, 10.0, 8.0], [0.0, 0.0, 1.0, 1.0]]),
    torch.tensor([[NAN] * 4]),
    torch.tensor([[6.0, 5.0, 9.0, 8.0]]),
    torch.tensor([[0.0, 0.0, 2.0, 2.0]]),
]


def pointing_maps():
    """Highest at (2, 3): within the first two boxes, not in the fourth; the last map is flat."""
    maps = torch.zeros(5, 1, 8, 10)
    maps[:, 0, 2, 3] = 1.0
    maps[4] = 0.25
    return maps


def test_pointing():
    metric = Pointing()
    found = metric.score(case_with(pointing_maps(), boxes=BOXES))
    assert [column.name for column in metric.columns] == list(found)
    hits, small = found.values()
    assert hits[[0, 1, 3]].tolist() == [1, 1, 0]
    assert hits.isnan().tolist() == [False, False, True, False, True]
    assert small[[0, 3]].tolist() == [1, 0]
    assert small.isnan().tolist() == [False, True, True, False, True]
    near = Pointing(tolerance=6.0).score(case_with(pointing_maps(), boxes=BOXES))
    assert near["pointing game"][3] == 1


def test_baselines_of_pointing():
    found = Pointing().baselines(case_with(pointing_maps(), boxes=BOXES))
    centre, chance = (found[name]["pointing game"] for name in ("centre pixel", "random pixel"))
    assert centre[[0, 1, 3, 4]].tolist() == [0, 1, 0, 0]  # (4, 5)
    assert chance[[0, 1, 3, 4]].tolist() == pytest.approx([4 / 80, 1, 9 / 80, 4 / 80])
    assert centre.isnan().tolist() == chance.isnan().tolist() == [False, False, True, False, False]


def test_box_overlap():
    maps = pointing_maps()
    maps[0, 0, 1:3, 2:4] = 0.9
    case = case_with(maps, boxes=BOXES)
    found = BoxOverlap().score(case)["iou"]
    assert found[[0, 1, 3]].tolist() == pytest.approx([1, 1 / 80, 0])
    assert found.isnan().tolist() == [False, False, True, False, True]
    torch.testing.assert_close(found[:2], iou(box_of(case.maps[:2]), BOXES[:2]))
    wide = BoxOverlap(threshold=None).score(case)["iou"]
    torch.testing.assert_close(wide[:2], iou(box_of(case.maps[:2], None), BOXES[:2]))
    whole = BoxOverlap().baselines(case)["whole image"]["iou"]
    assert whole[[0, 1, 3, 4]].tolist() == pytest.approx([4 / 80, 1, 9 / 80, 4 / 80])
    negative = BoxOverlap().score(case_with(-maps, boxes=BOXES))["iou"]
    assert negative[0] == 0  # a map without positive values shows no object


def test_increase_in_confidence():
    model = small_model()
    case = case_with(pointing_maps(), model, boxes=BOXES, max_examples_per_batch=2)
    found = IncreaseInConfidence().score(case)
    change = increase_in_confidence(model, case.images, box_of(case.maps), case.targets)
    living = torch.tensor([True, True, True, True, False])
    assert torch.equal(found["increase in confidence"][living], change.increased[living].double())
    assert torch.equal(found["confidence drop"][living], change.drop[living])
    assert found["box area"][living].tolist() == pytest.approx([1 / 80] * int(living.sum()))
    assert found["box area"].isnan().tolist() == case.degenerate.tolist()
    truth = IncreaseInConfidence().baselines(case)["object's box"]
    assert truth["box area"][[0, 1, 3, 4]].tolist() == pytest.approx([4 / 80, 1, 9 / 80, 4 / 80])
    assert truth["increase in confidence"].isnan().tolist() == [False, False, True, False, False]
    assert truth["increase in confidence"][1] == 0  # the whole image is no increase
    assert IncreaseInConfidence().baselines(case_with(pointing_maps())) == {}


def test_one_box_each_as_a_tensor():
    boxes = torch.tensor([[2, 1, 4, 3]]).expand(5, 4)
    assert Pointing().score(case_with(pointing_maps(), boxes=boxes))["pointing game"][:4].tolist() == [1] * 4


def test_no_box_at_all():
    case = case_with(pointing_maps(), boxes=torch.full((5, 4), NAN))
    for metric in (Pointing(), BoxOverlap()):
        for values in (metric.score(case), *metric.baselines(case).values()):
            assert all(column.isnan().all() and len(column) == 5 for column in values.values())


def test_bad_input():
    for metric in (Pointing(), BoxOverlap()):
        assert metric.needs_boxes
        with pytest.raises(InputError, match=r"Expected `boxes` .* got None"):
            metric.score(case_with(pointing_maps()))
    with pytest.raises(InputError, match="got those of 4"):
        Pointing().score(case_with(pointing_maps(), boxes=BOXES[:4]))
    with pytest.raises(InputError, match=r"`small` .* got 0"):
        Pointing(small=0)
    with pytest.raises(InputError, match=r"`tolerance` .* got -1"):
        Pointing(tolerance=-1)
    for kind in (BoxOverlap, IncreaseInConfidence):
        with pytest.raises(InputError, match=r"`threshold` .* got 1"):
            kind(threshold=1)
