from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import wilcoxon

from captum_paramsal.comparison import bootstrap_mean, paired_differences
from captum_paramsal.comparison.statistics import RESAMPLES


def p_value_of(differences):
    values = torch.stack([differences, torch.zeros_like(differences)])
    (pair,) = paired_differences(["one", "other"], values)
    return pair.p_value


KINDS = ["all different", "tied", "all the same size"]


# Scipy needs seconds for 13 tied differences.
@pytest.mark.parametrize(("count", "kind"), [*product([6, 8, 14, 60], KINDS), (13, "all different")])
def test_signed_rank_is_scipys(count, kind):
    random = np.random.default_rng(count)
    for _ in range(2):
        different = random.normal(size=count)
        sizes = {"all different": np.abs(different), "tied": 1.0 + random.integers(3, size=count)}
        moved = np.sign(different) * sizes.get(kind, 1.0)
        assert p_value_of(torch.from_numpy(moved)) == pytest.approx(wilcoxon(moved).pvalue, rel=1e-12)


def test_signed_rank_by_hand():
    assert p_value_of(torch.arange(1.0, 7.0)) == 2 / 2**6
    assert p_value_of(torch.tensor([1.0, -1.0] * 4)) == 1.0
    assert np.isnan(p_value_of(torch.arange(1.0, 6.0)))
    assert p_value_of(torch.tensor([0.0, torch.nan, 1, 2, 3, 4, 5, 6])) == 2 / 2**6


def test_intervals_do_not_depend_on_what_was_asked_before():
    """Drawings are remembered, by the number of images and the seed."""
    generator = torch.Generator().manual_seed(0)
    for count, seed in ((20, 0), (2500, 0), (20, 1), (20, 0), (7, 0), (20, 0)):
        values = torch.randn(count, generator=generator, dtype=torch.float64)
        drawn = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
        low, high = np.quantile(values.numpy()[drawn].mean(axis=1), (0.025, 0.975))
        assert bootstrap_mean(values, seed) == (float(values.numpy().mean()), low, high)
        assert bootstrap_mean(torch.cat([values, torch.tensor([torch.nan])]), seed)[1:] == (low, high)
