"""Outlines, distances and patterns are what they say."""

from itertools import combinations

import numpy as np
import pytest

from captum_paramsal.demo.patterns import PATTERNS, patch_distance
from captum_paramsal.demo.shapes import OUTLINES, edges, signed_distance

GRID = np.arange(-1.5, 1.5, 0.05)


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_touch_the_unit_circle_and_stay_inside(name):
    reach = np.linalg.norm(np.concatenate(OUTLINES[name]), axis=1)
    assert reach.max() == pytest.approx(1)


@pytest.mark.parametrize("name", OUTLINES)
def test_distance_equals_that_of_a_loop_over_points_and_edges(name):
    outline = edges(OUTLINES[name], 1.0, 0.3)
    points = np.random.RandomState(0).uniform(-1.2, 1.2, (60, 2))
    expected = []
    for point in points:
        nearest, crossings = np.inf, 0
        for start, end in outline:
            along = np.clip(np.dot(point - start, end - start) / np.dot(end - start, end - start), 0, 1)
            nearest = min(nearest, np.linalg.norm(point - start - along * (end - start)))
            if (start[1] > point[1]) != (end[1] > point[1]):
                crossing = start[0] + (point[1] - start[1]) * (end[0] - start[0]) / (end[1] - start[1])
                crossings += crossing > point[0]
        expected.append(-nearest if crossings % 2 else nearest)
    np.testing.assert_allclose(signed_distance(points[:, 0], points[:, 1], outline), expected, atol=1e-12)


def test_ring_has_a_hole():
    outline = edges(OUTLINES["ring"], 10.0, 0.0)
    across = signed_distance(np.array([0.0, 7.5, 12.0]), np.zeros(3), outline)
    assert (np.sign(across) == [1, -1, 1]).all()


def test_turning_is_clockwise_on_the_screen():
    outline = edges([np.array([(0.0, -1.0), (0.1, 0.0), (-0.1, 0.0)])], 2.0, np.pi / 2)
    tip = outline[0, 0]
    np.testing.assert_allclose(tip, [2, 0], atol=1e-12)


def test_patch_distance_is_zero_on_its_edge():
    edge = np.array([7.0, 0.0, -7.0]), np.array([0.0, -7.0, 2.0])
    np.testing.assert_allclose(patch_distance(*edge, 7.0), 0, atol=1e-12)
    assert patch_distance(np.zeros(1), np.zeros(1), 7.0) == pytest.approx(-7)
    assert patch_distance(np.array([7.0]), np.array([7.0]), 7.0) > 1  # round corners


def test_patterns_differ_from_one_another():
    x, y = GRID[None, :], GRID[:, None]
    light = {name: weave(x, y) > 0 for name, weave in PATTERNS.items()}
    assert all(cloth.shape == (60, 60) and 0.1 < cloth.mean() < 0.9 for cloth in light.values())
    for one, other in combinations(light, 2):
        assert (light[one] != light[other]).mean() > 0.2, (one, other)
