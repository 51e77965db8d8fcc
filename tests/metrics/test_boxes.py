import pytest
import torch
from hypothesis import given, settings, strategies as st
from metrics.boxes_of_any_kind import broken_boxes, covered_slowly, whole_boxes

from captum_paramsal.errors import InputError
from captum_paramsal.metrics import area_share, covered, iou
from captum_paramsal.metrics.boxes import boxes_per_image, distance_to

NAN = torch.nan


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        ((0, 0, 10, 10), [(0, 0, 10, 10)], 1.0),
        ((0, 0, 10, 10), [(10, 0, 20, 10)], 0.0),  # side by side
        ((0, 0, 10, 10), [(5, 5, 15, 15)], 25 / 175),
        ((0, 0, 10, 10), [(2, 2, 4, 4)], 4 / 100),
        ((0.5, 0, 1, 2), [(0, 0, 1, 1)], 0.5 / 1.5),
        ((0, 0, 4, 4), [(8, 8, 9, 9), (0, 0, 4, 2), (0, 0, 4, 3)], 0.75),  # the best of several
        ((NAN, NAN, NAN, NAN), [(0, 0, 4, 4)], 0.0),
    ],
)
def test_by_hand(found, truth, expected):
    overlap = iou(boxes(found), [boxes(*truth)])
    assert overlap.dtype == torch.float64
    assert overlap.tolist() == [pytest.approx(expected)]


def test_each_image_has_its_own_boxes():
    truth = [boxes((0, 0, 2, 2), (0, 0, 4, 4)), boxes((5, 5, 6, 6)), boxes((1, 1, 3, 3))]
    found = boxes((0, 0, 4, 4), (0, 0, 4, 4), (1, 1, 3, 3))
    assert iou(found, truth).tolist() == [1.0, 0.0, 1.0]


def test_one_box_per_image_may_come_as_one_tensor_of_any_type():
    found = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 4]], dtype=torch.int32)
    truth = torch.tensor([[0, 0, 4, 2], [2, 0, 6, 4]], dtype=torch.float16, requires_grad=True)
    assert iou(found, truth).tolist() == pytest.approx([0.5, 1 / 3])
    assert not iou(found, truth).requires_grad


@given(broken_boxes(), broken_boxes())
@settings(deadline=None)
def test_the_order_of_two_boxes_does_not_matter(one, other):
    forth, back = iou(boxes(one), boxes(other)), iou(boxes(other), boxes(one))
    assert torch.equal(forth, back)
    assert 0 <= forth <= 1
    assert iou(boxes(one), boxes(one)) == 1


@given(broken_boxes(), broken_boxes(), st.floats(-100, 100), st.floats(-100, 100), st.floats(0.1, 10))
@settings(deadline=None)
def test_moving_and_scaling_both_changes_nothing(one, other, right, down, scale):
    moved = [scale * (boxes(box) + boxes((right, down, right, down))) for box in (one, other)]
    torch.testing.assert_close(iou(*moved), iou(boxes(one), boxes(other)), rtol=1e-6, atol=1e-9)


@given(whole_boxes(), st.lists(whole_boxes(), min_size=1, max_size=3))
@settings(deadline=None)
def test_overlap_is_that_of_pixels(found, truth):
    here = covered_slowly([found], 12, 9)
    each = [covered_slowly([box], 12, 9) for box in truth]
    expected = max(float((here & there).sum() / (here | there).sum()) for there in each)
    assert float(iou(boxes(found), [boxes(*truth)])) == pytest.approx(expected)


@given(st.lists(whole_boxes(), min_size=1, max_size=4))
@settings(deadline=None)
def test_covered_pixels_and_their_share(rows):
    expected = covered_slowly(rows, 12, 9)
    assert torch.equal(covered([boxes(*rows)], (12, 9))[0], expected)
    assert float(area_share([boxes(*rows)], (12, 9))) == pytest.approx(float(expected.double().mean()), abs=1e-15)


def test_a_pixel_that_is_touched_is_covered():
    mask = covered(boxes((0.9, 1.0, 2.0, 1.5)), (3, 4))[0]
    assert mask.nonzero().tolist() == [[1, 0], [1, 1]]


def test_no_box_covers_nothing():
    given = boxes((NAN, NAN, NAN, NAN), (0, 0, 1, 1))
    assert area_share(given, (2, 2)).tolist() == [0.0, 0.25]
    assert covered(given, (2, 2)).sum(dim=(1, 2)).tolist() == [0, 1]


def test_share_within_a_tolerance():
    corner = boxes((0, 0, 1, 1))
    near = [float(area_share(corner, (5, 5), tolerance=far)) * 25 for far in (0, 0.9, 1, 1.4, 1.5, 2, 10)]
    assert near == pytest.approx([1, 1, 3, 3, 4, 6, 25])


def test_distance_counts_pixels():
    rows = [boxes((2, 2, 4, 5))] * 6
    points = torch.tensor([[2, 2], [4, 3], [5, 3], [0, 3], [2, 4], [8, 7]])
    assert distance_to(rows, points).tolist() == pytest.approx([0, 0, 1, 2, 1, 32**0.5])
    both = [boxes((0, 0, 1, 1), (8, 8, 9, 9))]
    assert distance_to(both, torch.tensor([[8, 6]])).tolist() == [2]


def test_what_stands_out_by_rounding_is_cut_off():
    assert boxes_per_image(boxes((-0.5, 0, 8.9, 5.2)), 1, (5, 8))[0].tolist() == [[0, 0, 8, 5]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([boxes((0, 0, 4, 4)), torch.zeros(0, 4)], r"got \(0, 4\) for image 1"),
        ([boxes((0, 0, 4, 4)), torch.zeros(2, 5)], r"got \(2, 5\) for image 1"),
        ([boxes((0, 0, 4, 4))], "each image \\(2, at least 1\\), got those of 1"),
        (boxes((0, 0, 4, 4), (4, 0, 0, 4)), r"x1 < x2 and y1 < y2, got \(4, 0, 0, 4\) for image 1"),
        (boxes((0, 0, 4, 4), (0, 4, 4, 4)), r"got \(0, 4, 4, 4\) for image 1"),
        (boxes((0, 0, 4, 4), (0, 0, torch.inf, 4)), r"got \(0, 0, inf, 4\) for image 1"),
        (boxes((0, 0, 4, 4), (NAN, NAN, NAN, NAN)), r"got \(nan, nan, nan, nan\) for image 1"),
    ],
)
def test_ground_truth_that_is_none(rows, message):
    with pytest.raises(InputError, match=message):
        iou(boxes((0, 0, 1, 1), (0, 0, 1, 1)), rows)


def test_found_boxes_that_are_none():
    truth = boxes((0, 0, 1, 1))
    with pytest.raises(InputError, match=r"got \(nan, 0, 1, 1\) for image 0"):
        iou(boxes((NAN, 0, 1, 1)), truth)
    with pytest.raises(InputError, match=r"one found box per image, \(1, 4\), got 2 boxes"):
        iou([boxes((0, 0, 1, 1), (0, 0, 2, 2))], truth)


@pytest.mark.parametrize("row", [(0, 0, 9.1, 4), (-1, 0, 4, 4), (0, 0, 4, 6), (8, 0, 8.5, 2)])
def test_boxes_of_another_resolution(row):
    with pytest.raises(InputError, match=r"image of 5 x 8 pixels .* for image 0\. Scale the boxes"):
        area_share(boxes(row), (5, 8))


@pytest.mark.parametrize("tolerance", [-1, NAN, torch.inf])
def test_tolerance_that_is_none(tolerance):
    with pytest.raises(InputError, match=f"0 or more pixels, got {tolerance}"):
        area_share(boxes((0, 0, 1, 1)), (5, 8), tolerance=tolerance)
