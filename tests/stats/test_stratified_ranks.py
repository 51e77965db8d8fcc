"""Van Elteren's test, against SciPy's rank test and by simulation."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest, mannwhitneyu

from captum_paramsal.errors import InputError
from captum_paramsal.stats import stratified_ranks


def test_one_stratum_is_the_rank_test_of_scipy():
    generator = np.random.default_rng(0)
    values = np.round(generator.normal(size=(60, 12)), 1)  # with ties
    in_set = generator.random(60) < 0.3
    found = stratified_ranks(torch.from_numpy(values), torch.from_numpy(in_set), torch.zeros(60))
    options = {"alternative": "greater", "method": "asymptotic", "use_continuity": False}
    expected = [mannwhitneyu(column[in_set], column[~in_set], **options) for column in values.T]
    np.testing.assert_allclose(found.p_values, [one.pvalue for one in expected], rtol=1e-12)
    pairs = in_set.sum() * (~in_set).sum()
    np.testing.assert_allclose(found.superiority, [one.statistic / pairs for one in expected], rtol=1e-12)
    assert found.compared == in_set.sum()


def test_differences_between_strata_do_not_count():
    generator = torch.Generator().manual_seed(0)
    strata = torch.arange(400) % 4
    # Rare strata have large values and most of the set.
    in_set = torch.rand(400, generator=generator) < torch.tensor([0.1, 0.2, 0.5, 0.9])[strata]
    values = torch.randn(400, 500, generator=generator) + 10 * strata[:, None]
    assert (stratified_ranks(values, in_set, torch.zeros(400)).p_values < 1e-6).all()
    p_values = stratified_ranks(values, in_set, strata).p_values
    assert kstest(p_values.numpy(), "uniform").pvalue > 0.01


def test_a_shift_within_strata_is_found():
    generator = torch.Generator().manual_seed(0)
    strata, in_set = torch.arange(300) % 50, torch.rand(300, generator=generator) < 0.4
    values = torch.randn(300, 20, generator=generator) + in_set[:, None]
    found = stratified_ranks(values, in_set, strata)
    assert (found.p_values < 1e-4).all()
    assert ((found.superiority - 0.76).abs() < 0.12).all()


def test_what_cannot_be_compared():
    in_set = torch.tensor([True, True, False, True, False])
    values = torch.tensor([[1.0], [2.0], [3.0], [9.0], [9.0]])
    with pytest.raises(InputError, match="nothing to compare with"):
        stratified_ranks(values, in_set, torch.tensor([0, 0, 1, 2, 3]))
    found = stratified_ranks(values, in_set, torch.tensor([0, 0, 1, 2, 2]))
    assert found.compared == 1
    assert found.p_values.tolist() == [1.0]
    assert found.superiority.tolist() == [0.5]
