from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import wilcoxon

from captum_paramsal.comparison import paired_differences


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
