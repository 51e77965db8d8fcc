from math import comb

import pytest

from captum_paramsal.stats import mcnemar


@pytest.mark.parametrize(("better", "worse"), [(0, 5), (3, 9), (4, 4), (1, 0), (20, 31)])
def test_every_split_that_is_no_more_likely_counts(better, worse):
    total = better + worse
    chances = [comb(total, count) / 2**total for count in range(total + 1)]
    expected = sum(chance for chance in chances if chance <= chances[better] * (1 + 1e-9))
    assert mcnemar(better, worse) == pytest.approx(expected)
    assert mcnemar(worse, better) == pytest.approx(expected)


def test_nothing_changed():
    assert mcnemar(0, 0) == 1.0
