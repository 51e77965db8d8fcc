"""A fault that was planted between two checkpoints of a trained network is among the first filters."""

import pytest
from benchmarks.planted_between_models import planted
from cases import real_models

from captum_paramsal import compare_models

FIRST = 10


def found_in(data, count, noise, steps=1):
    model = real_models.resnet20(data)
    images, labels = real_models.cifar10(data, 8)
    hits = 0
    for other, fault in planted(model, count, noise):
        result = compare_models(model, other, images, labels, steps=steps)
        hits += fault in {str(row.filter) for row in result.top(FIRST)}
    return hits


@pytest.mark.data
def test_a_few_faults(paramsal_data):
    assert found_in(paramsal_data, count=2, noise=0.05) == 2


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.05, 0.15])
def test_a_hundred_faults(paramsal_data, noise):
    # Three in four is what is asked for; it was 100 of 100 with either noise.
    assert found_in(paramsal_data, count=100, noise=noise) >= 95
