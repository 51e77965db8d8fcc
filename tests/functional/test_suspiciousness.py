"""Suspiciousness and Pareto order against what they are by hand."""

import pytest
import torch

from captum_paramsal.functional import d_star, ochiai, pareto_fronts, pareto_score, tarantula, wrong_against_right

# Five mistakes and ten correct images; filters that 4, 5, 0 and 2 mistakes, and 1, 0, 3 and 10 correct images hit.
HITS = torch.tensor([4.0, 5.0, 0.0, 2.0]).double(), torch.tensor([1.0, 0.0, 3.0, 10.0]).double(), 5, 10


def test_measures_by_hand():
    assert ochiai(*HITS).tolist() == pytest.approx([4 / 25**0.5, 5 / 25**0.5, 0, 2 / 60**0.5])
    assert tarantula(*HITS).tolist() == pytest.approx([0.8 / 0.9, 1, 0, 0.4 / 1.4])
    assert d_star(*HITS).tolist() == pytest.approx([64 / 2, float("inf"), 0, 8 / 13])


def test_a_filter_that_nothing_hits_is_not_suspicious():
    nothing = torch.zeros(1)
    assert [float(measure(nothing, nothing, 3, 4)) for measure in (ochiai, tarantula, d_star)] == [0, 0, 0]


def test_costs_of_correct_images_count_in_units_of_their_mean():
    mistakes, correct = torch.tensor([2.0, 6.0, 0.0]), torch.tensor([0.0, 3.0, 3.0])
    expected = [2 / 2, (6 / 2) / (1 + 3 / 2), 0]
    assert wrong_against_right(mistakes, correct).tolist() == pytest.approx(expected)
    assert wrong_against_right(1e6 * mistakes, 1e6 * correct).tolist() == pytest.approx(expected)
    assert wrong_against_right(mistakes, torch.zeros(3)).tolist() == [2, 6, 0]


@pytest.mark.parametrize("kinds", [1, 2, 3])
@pytest.mark.parametrize("values", [2, 5, 1000])
def test_fronts_are_those_of_comparing_all_pairs(kinds, values):
    costs = torch.randint(0, values, (30, kinds), generator=torch.Generator().manual_seed(2)).double()
    left, expected, front = set(range(30)), [0] * 30, 0
    while left:
        front += 1
        best = {
            i for i in left if not any(bool((costs[j] >= costs[i]).all() and (costs[j] > costs[i]).any()) for j in left)
        }
        for i in best:
            expected[i] = front
        left -= best
    assert pareto_fronts(costs).tolist() == expected
    score = pareto_score(costs)
    assert sorted(score.tolist()) == pytest.approx([(i + 1) / 30 for i in range(30)])
    order = score.argsort(descending=True)
    assert pareto_fronts(costs)[order].diff().min() >= 0
