from math import isnan

import pytest
import torch
from hypothesis import given, settings, strategies as st
from metrics.boxes_of_any_kind import covered_slowly, whole_boxes

from captum_paramsal.errors import InputError
from captum_paramsal.metrics import (
    area_share,
    centre_point,
    has_small_boxes,
    highest_point,
    misses_centre,
    pointing_game,
    pointing_game_at,
)


def spots(*places, height=6, width=8):
    """One map for each place, highest there."""
    maps = torch.zeros(len(places), height, width)
    for one, (y, x) in zip(maps, places, strict=True):
        one[y, x] = 2.0
    return maps


def test_edges_of_a_box():
    maps = spots((1, 2), (3, 4), (4, 2), (1, 5), (0, 2), (1, 1))
    game = pointing_game(maps, torch.tensor([[2, 1, 5, 4]] * 6))
    assert game.hits.tolist() == [True, True, False, False, False, False]
    assert game.points.tolist() == [[1, 2], [3, 4], [4, 2], [1, 5], [0, 2], [1, 1]]
    assert game.rate == pytest.approx(1 / 3)
    assert not game.degenerate.any()


def test_any_of_several_boxes():
    truth = [torch.tensor([[0, 0, 1, 1], [6, 4, 8, 6]]), torch.tensor([[0, 0, 1, 1]])]
    assert pointing_game(spots((5, 7), (5, 7)), truth).hits.tolist() == [True, False]


@pytest.mark.parametrize(("tolerance", "hits"), [(0, [False] * 3), (1, [True, False, False]), (2, [True, True, False])])
def test_tolerance_is_a_distance_in_pixels(tolerance, hits):
    maps = spots((2, 4), (3, 4), (2, 6))  # 1, √2 and 3 pixels from the box
    truth = torch.tensor([[2, 1, 4, 3]] * 3)
    assert pointing_game(maps, truth, tolerance=tolerance).hits.tolist() == hits


def test_channels_are_summed_with_their_signs():
    maps = torch.zeros(1, 2, 3, 3)
    maps[0, :, 0, 0] = torch.tensor([9.0, -9.0])
    maps[0, :, 2, 1] = torch.tensor([0.5, 0.25])
    assert highest_point(maps).tolist() == [[2, 1]]


def test_sums_of_half_precision_do_not_tie():
    maps = torch.ones(1, 3, 2, 2, dtype=torch.float16) * 1000
    maps[0, 2, 1, 1] = 1000.5
    assert highest_point(maps).tolist() == [[1, 1]]


def test_ties_go_to_the_first_in_reading_order():
    maps = torch.zeros(2, 4, 5)
    maps[0, 1, 3] = maps[0, 1, 4] = maps[0, 3, 0] = 1.0
    maps[1] = -1.0
    maps[1, 0, 0] = -2.0
    assert highest_point(maps).tolist() == [[1, 3], [0, 1]]


def test_a_map_that_points_nowhere_misses():
    maps = spots(*[(1, 1)] * 5)
    maps[1] = 0.0
    maps[2] = 3.5
    maps[3, 4, 4] = torch.nan
    maps[4, 4, 4] = torch.inf
    game = pointing_game(maps, torch.tensor([[0, 0, 8, 6]] * 5))
    assert game.hits.tolist() == [True, False, False, False, False]
    assert game.degenerate.tolist() == [False, True, True, True, True]
    assert game.points[1:].eq(-1).all()
    assert game.rate == 0.2
    assert game.to_table()[1] == {"hit": False, "degenerate": True, "y": -1, "x": -1}
    # Nor does a tolerance, however large, make a hit of it.
    assert pointing_game(maps, torch.tensor([[0, 0, 8, 6]] * 5), tolerance=100).hits.sum() == 1


def test_wilson_interval():
    game = pointing_game(spots(*[(0, 0)] * 6, *[(5, 5)] * 4), torch.tensor([[0, 0, 2, 2]] * 10))
    z, n, p = 1.959963984540054, 10, 0.6
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert game.interval == pytest.approx((centre - half, centre + half))


def test_part_of_the_images():
    game = pointing_game(spots((0, 0), (5, 5), (1, 1)), torch.tensor([[0, 0, 2, 2]] * 3))
    part = game.where(torch.tensor([True, True, False]))
    assert (part.hits.tolist(), part.points.tolist(), part.rate) == ([True, False], [[0, 0], [5, 5]], 0.5)
    assert game.where(torch.tensor([2])).hits.tolist() == [True]
    nothing = game.where(torch.zeros(3, dtype=torch.bool))
    assert all(map(isnan, (nothing.rate, *nothing.interval)))


@given(st.lists(st.lists(whole_boxes(), min_size=1, max_size=3), min_size=1, max_size=4), st.data())
@settings(deadline=None)
def test_hits_are_pixels_of_the_boxes(truth, data):
    points = [(data.draw(st.integers(0, 11)), data.draw(st.integers(0, 8))) for _ in truth]
    boxes = [torch.tensor(rows) for rows in truth]
    game = pointing_game(spots(*points, height=12, width=9), boxes)
    masks = [covered_slowly(rows, 12, 9) for rows in truth]
    assert game.hits.tolist() == [bool(mask[point]) for mask, point in zip(masks, points, strict=True)]


@given(st.lists(whole_boxes(), min_size=1, max_size=3), st.sampled_from([0, 1, 1.5, 3]))
@settings(deadline=None, max_examples=25)
def test_a_random_pixel_hits_as_often_as_boxes_are_large(rows, tolerance):
    pixels = torch.cartesian_prod(torch.arange(12), torch.arange(9))
    boxes = [torch.tensor(rows)] * len(pixels)
    game = pointing_game_at(pixels, boxes, (12, 9), tolerance=tolerance)
    assert game.rate == pytest.approx(float(area_share(boxes[:1], (12, 9), tolerance=tolerance)))


def test_centre_of_an_image():
    assert centre_point((5, 7)).tolist() == [2, 3]
    assert centre_point((4, 1)).tolist() == [2, 0]
    game = pointing_game_at(centre_point((4, 4)), torch.tensor([[2, 2, 4, 4], [0, 0, 2, 2]]), (4, 4))
    assert game.hits.tolist() == [True, False]


def test_breakdown():
    boxes = [
        torch.tensor([[0, 0, 3, 4]]),  # a third of 36 pixels
        torch.tensor([[0, 0, 3, 3], [1, 0, 3, 3]]),  # a quarter: what is covered twice counts once
        torch.tensor([[0, 0, 3, 3], [3, 3, 6, 6]]),  # half, with the centre
    ]
    assert has_small_boxes(boxes, (6, 6)).tolist() == [False, True, False]
    assert has_small_boxes(boxes, (6, 6), share=0.5).tolist() == [True, True, False]
    assert misses_centre(boxes, (6, 6)).tolist() == [True, True, False]
    assert misses_centre(boxes, (6, 6), tolerance=1).tolist() == [False, True, False]
    assert misses_centre(boxes, (6, 6), tolerance=2).tolist() == [False, False, False]


@pytest.mark.parametrize("share", [0, -0.1, 1.1, torch.nan])
def test_share_that_is_none(share):
    with pytest.raises(InputError, match=f"above 0, up to 1, got {share}"):
        has_small_boxes(torch.tensor([[0, 0, 1, 1]]), (6, 6), share=share)


@pytest.mark.parametrize(
    ("maps", "boxes", "message"),
    [
        (torch.zeros(8, 8), [[0, 0, 1, 1]], r"maps \(N, H, W\) or \(N, C, H, W\), got \(8, 8\)"),
        (torch.zeros(0, 8, 8), [[0, 0, 1, 1]], r"got \(0, 8, 8\)"),
        (torch.zeros(2, 8, 8), [[0, 0, 1, 1]], "for each image .1, at least 1., got|whole numbers y and x"),
        (torch.zeros(1, 8, 8), [[0, 0, 64, 64]], r"8 x 8 pixels .*, got \(0, 0, 64, 64\) for image 0"),
        (torch.zeros(1, 8, 8), [[torch.nan] * 4], r"got \(nan, nan, nan, nan\) for image 0"),
    ],
)
def test_bad_input(maps, boxes, message):
    with pytest.raises(InputError, match=message):
        pointing_game(maps, torch.tensor(boxes))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(3, 2, dtype=torch.int64), r"\(2, 2\), or \(2,\), got torch.int64 of shape \(3, 2\)"),
        (torch.zeros(2, 2), "got torch.float32"),
        (torch.tensor([[0, 0], [6, 0]]), r"6 x 8 pixels .*, got \(6, 0\) for image 1"),
        (torch.tensor([[-1, 0], [0, 0]]), r"got \(-1, 0\) for image 0"),
    ],
)
def test_bad_points(points, message):
    with pytest.raises(InputError, match=message):
        pointing_game_at(points, torch.tensor([[0, 0, 1, 1]] * 2), (6, 8))


def test_bad_tolerance():
    with pytest.raises(InputError, match="0 or more pixels, got -2"):
        pointing_game(spots((0, 0)), torch.tensor([[0, 0, 1, 1]]), tolerance=-2)
