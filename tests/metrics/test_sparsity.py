import pytest
import torch
from metrics.small_cases import case_with, some_images

from captum_paramsal.metrics import Sparsity, gini_index


def test_by_the_mean_difference():
    values = torch.rand(3, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    size = values.abs()
    expected = (size[:, :, None] - size[:, None]).abs().mean(dim=(1, 2)) / (2 * size.mean(dim=1))
    torch.testing.assert_close(gini_index(values), expected)


def test_ends():
    one = torch.zeros(1, 80)
    one[0, 3] = -5.0
    assert gini_index(one).item() == pytest.approx(1 - 1 / 80)
    assert gini_index(torch.full((1, 80), 3.0)).item() == pytest.approx(0)
    assert gini_index(torch.zeros(1, 80)).isnan().all()


def test_of_a_case():
    maps = some_images(3)[0]
    maps[1] = 4.0
    found = Sparsity().score(case_with(maps))["sparsity"]
    assert found.isnan().tolist() == [False, True, False]
    torch.testing.assert_close(found[[0, 2]], gini_index(maps[[0, 2]].sum(dim=1).flatten(1)))
    torch.testing.assert_close(Sparsity().score(case_with(-90 * maps))["sparsity"], found, equal_nan=True)
