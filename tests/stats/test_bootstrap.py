"""Bootstrap intervals of means: of a sample, and of columns together."""

from math import isnan, nan

import numpy as np
import pytest
import torch

from captum_paramsal.stats import bootstrap_difference, bootstrap_mean, bootstrap_means
from captum_paramsal.stats.bootstrap import RESAMPLES


def test_bootstrap_intervals_cover_the_mean():
    random = np.random.default_rng(1)
    samples = torch.from_numpy(random.exponential(size=(300, 40)))
    intervals = [bootstrap_mean(values, seed) for seed, values in enumerate(samples)]
    share = np.mean([low <= 1.0 <= high for _, low, high in intervals])
    # Percentile intervals of 40 skew values cover a little less than 95 %; 4 standard errors are 5 %.
    assert 0.88 < share < 0.98


def test_bootstrap_leaves_out_what_is_not_known():
    values = torch.tensor([1.0, nan, 2.0, 4.0, nan])
    assert bootstrap_mean(values) == bootstrap_mean(values[~values.isnan()])
    assert bootstrap_mean(values) == bootstrap_mean(values, seed=0)
    assert bootstrap_mean(values)[0] == pytest.approx(7 / 3)
    assert all(map(isnan, bootstrap_mean(torch.tensor([nan]))))


def test_intervals_do_not_depend_on_what_was_asked_before():
    """Drawings are remembered, by the number of images and the seed."""
    generator = torch.Generator().manual_seed(0)
    for count, seed in ((20, 0), (2500, 0), (20, 1), (20, 0), (7, 0), (20, 0)):
        values = torch.randn(count, generator=generator, dtype=torch.float64)
        drawn = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
        low, high = np.quantile(values.numpy()[drawn].mean(axis=1), (0.025, 0.975))
        assert bootstrap_mean(values, seed) == (float(values.numpy().mean()), low, high)
        assert bootstrap_mean(torch.cat([values, torch.tensor([torch.nan])]), seed)[1:] == (low, high)


@pytest.mark.parametrize("count", [2, 30, 2500, 9000])
def test_columns_are_resampled_as_a_sample_is(count):
    values = torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = bootstrap_means(values, seed=1)
    expected = torch.tensor([bootstrap_mean(column, seed=1) for column in values.T]).T
    torch.testing.assert_close(found, expected.double())


def test_the_drawing_does_not_depend_on_its_parts(monkeypatch):
    values = torch.randn(2100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = bootstrap_mean(values)
    monkeypatch.setattr("captum_paramsal.stats.bootstrap._AT_ONCE", 7 * 2100)
    assert bootstrap_mean(values) == whole


def test_columns_with_gaps():
    values = torch.tensor([[1.0, nan, 1.0], [3.0, nan, nan], [2.0, nan, 5.0]])
    mean, low, high = bootstrap_means(values)
    torch.testing.assert_close(mean, torch.tensor([2.0, nan, 3.0]).double(), equal_nan=True)
    assert low[1].isnan()
    assert low[2] == 1
    assert high[2] == 5
    assert bootstrap_means(values[:1])[1:].isnan().all()


def test_of_a_single_number_no_interval_is_known():
    rows = torch.tensor([[nan, 1.0, nan], [nan, 2.0, nan], [0.3, 4.0, nan]])
    mean, low, high = bootstrap_means(rows)
    assert mean.tolist() == pytest.approx([0.3, 7 / 3, nan], nan_ok=True)
    assert [isnan(end) for end in low.tolist()] == [isnan(end) for end in high.tolist()] == [True, False, True]
    difference, low, high = bootstrap_difference(torch.ones(4, 3), rows)
    assert difference.tolist() == pytest.approx([0.7, -4 / 3, nan], nan_ok=True)
    assert [isnan(end) for end in low.tolist()] == [isnan(end) for end in high.tolist()] == [True, False, True]
    assert bootstrap_difference(rows, torch.ones(1, 3))[1:].isnan().all()
