"""How filters are distributed, over stages and in their tails."""

import numpy as np
import pytest
import torch

from captum_paramsal import viz
from captum_paramsal.errors import InputError

ROWS = torch.randn(7, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MEAN, STD = ROWS.mean(dim=1), ROWS.std(dim=1)


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def test_a_filter_is_drawn_at_its_distances_and_their_shares():
    tail = ROWS.topk(10, dim=1).values
    axes = viz.score_distribution_plot(tail, MEAN, STD, 40, marks=[4], labels=["a $1"])
    drawn = lines(axes)
    distances = ((tail[4] - MEAN[4]) / STD[4]).numpy()
    np.testing.assert_allclose(drawn[r"a \$1"], np.stack([distances, np.arange(1, 11) / 40], axis=1))
    every = ((tail - MEAN[:, None]) / STD[:, None]).numpy()
    np.testing.assert_allclose(drawn["median filter"][:, 0], np.median(every, axis=0))
    # 2.5 % of normal values lie 1.96 deviations above the mean.
    np.testing.assert_allclose(drawn["normal distribution"][0], [1.95996, 0.025], rtol=1e-5)


def test_absent_values_and_dead_filters_are_left_out():
    tail = ROWS.topk(10, dim=1).values
    tail[0, 5:] = -torch.inf
    std = STD.clone()
    std[2] = 0.0
    drawn = lines(viz.score_distribution_plot(tail, MEAN, std, 40, marks=[0]))
    assert np.isnan(drawn["filter 0"][:, 0]).tolist() == [False] * 5 + [True] * 5
    assert np.isfinite(drawn["median filter"]).all()
    with pytest.raises(InputError, match=r"marks of filters that vary, .* got \[2\]"):
        viz.score_distribution_plot(tail, MEAN, std, 40, marks=[2])


def test_of_many_images_some_hundred_points_are_drawn():
    rows = torch.randn(3, 20000, generator=torch.Generator().manual_seed(1))
    drawn = lines(viz.score_distribution_plot(rows, rows.mean(dim=1), rows.std(dim=1), 20000))
    shares = drawn["median filter"][:, 1]
    assert len(shares) < 301
    assert (shares[0], shares[-1]) == (1 / 20000, 1)
    near = (shares > 0.001) & (shares < 0.5)
    assert np.abs(drawn["median filter"][near, 0] - drawn["normal distribution"][near, 0]).max() < 0.15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean": MEAN[:6]}, r"got \(7, 40\), \(6,\) and \(7,\)"),
        ({"values": ROWS[0]}, r"\(F, K\)"),
        ({"values": ROWS.where(ROWS < 1, torch.nan)}, "finite values"),
        ({"count": 39}, "at most 39 images"),
        ({"std": torch.zeros(7)}, "got 7 with a deviation of 0"),
        ({"marks": [7]}, r"got \[7\]"),
        ({"marks": [1], "labels": ["a", "b"]}, "a label for each or none"),
    ],
)
def test_what_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        viz.score_distribution_plot(**{"values": ROWS, "mean": MEAN, "std": STD, "count": 40, **change})


def test_stages():
    mean = torch.tensor([[1.0, 2.0, 4.0], [float("nan")] * 3])
    axes = viz.stage_plot(mean, 2 * mean, ["first", "last$"])
    assert axes.get_yscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["first", r"last\$"]
    points = [container.lines[0].get_ydata()[0] for container in axes.containers]
    assert points == [2.0, 4.0]
    many = viz.stage_plot(mean[:1].expand(9, 3), mean[:1].expand(9, 3), [f"block{n}.conv" for n in range(9)])
    assert {label.get_rotation() for label in many.get_xticklabels()} == {90}


@pytest.mark.parametrize(
    ("mean", "stages"), [([[1.0, 2.0]], ["a"]), ([[3.0, 2.0, 4.0]], ["a"]), ([[1.0, 2.0, 3.0]], ["a", "b"])]
)
def test_what_are_no_quartiles(mean, stages):
    with pytest.raises(InputError, match=r"Expected quartiles \(\d, 3\) of the mean"):
        viz.stage_plot(mean, mean, stages)
