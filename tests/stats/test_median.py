import numpy as np
import pytest
import torch

from captum_paramsal.stats import median


@pytest.mark.parametrize("count", [1, 2, 3, 10, 11])
def test_it_is_numpys(count):
    values = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
    assert median(values).numpy() == pytest.approx(np.median(values.double().numpy(), axis=0))
    assert float(median(values[:, 0])) == pytest.approx(np.median(values[:, 0].double().numpy()))
    assert float(median(torch.arange(count))) == np.median(np.arange(count))
