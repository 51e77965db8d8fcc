"""Colours, windows and paint."""

import colorsys

import numpy as np
import pytest

from captum_paramsal.demo.canvas import SIZE, Region, backdrop, coverage, lay, rgb


@pytest.mark.parametrize("hue", [0.0, 0.15, 0.4, 0.77, 1.3, -0.2])
@pytest.mark.parametrize(("saturation", "lightness"), [(0.0, 0.5), (0.6, 0.3), (1.0, 0.8)])
def test_colours_are_those_of_the_standard_library(hue, saturation, lightness):
    expected = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    np.testing.assert_allclose(rgb(hue, saturation, lightness), expected, atol=1e-12)


def test_window_is_cut_off_at_the_edge():
    window = Region.around(np.array([2.0, 60.5]), 5)
    assert (window.columns, window.rows) == (slice(0, 7), slice(55, 64))
    np.testing.assert_allclose(window.x[0, [0, -1]], [-1.5, 4.5])
    np.testing.assert_allclose(window.y[[0, -1], 0], [-5, 3])
    assert window.mask(np.ones((9, 7), bool)).sum() == 63


def test_paint_mixes_by_coverage():
    canvas = np.zeros((SIZE, SIZE, 3))
    window = Region.around(np.array([10.0, 10.0]), 1)
    lay(canvas, window, coverage(np.array([[-2.0, 0.0], [0.25, 2.0]])), np.array([1.0, 0.5, 0.0]))
    np.testing.assert_allclose(canvas[9:11, 9:11, 0], [[1, 0.5], [0.25, 0]])
    np.testing.assert_allclose(canvas[9:11, 9:11, 1], [[0.5, 0.25], [0.125, 0]])
    assert canvas.sum() == pytest.approx(1.75 + 0.875)


def test_backdrop_stays_near_its_two_colours():
    canvas = backdrop(np.random.RandomState(0), np.full(3, 0.3), np.full(3, 0.5))
    assert canvas.shape == (SIZE, SIZE, 3)
    assert canvas.min() > 0.2
    assert canvas.max() < 0.6
    assert canvas[:8].mean() < canvas[-8:].mean()
