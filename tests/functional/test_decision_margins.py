"""Margins and soft counts against loops and SciPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.special import expit

from captum_paramsal.functional import decision_margins, soft_right


@given(st.integers(1, 7), st.integers(2, 6), st.integers(0, 10_000))
def test_a_margin_is_the_lead_over_the_best_of_the_others(count, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(count, classes, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    margins = decision_margins(scores, labels)
    for margin, row, label in zip(margins.tolist(), scores.tolist(), labels.tolist(), strict=True):
        assert margin == pytest.approx(row[label] - max(row[:label] + row[label + 1 :]), rel=1e-5, abs=1e-6)
    assert torch.equal(margins > 0, scores.argmax(dim=1) == labels)


@pytest.mark.parametrize("width", [0.05, 1.0, 30.0])
def test_answers_are_right_by_a_logistic_curve(width):
    margins = np.random.default_rng(0).normal(size=100)
    np.testing.assert_allclose(soft_right(torch.from_numpy(margins), width), expit(margins / width), rtol=1e-12)


def test_by_a_narrow_border_answers_are_right_or_wrong():
    margins = torch.tensor([2.0, 0.3, -0.1, -5.0, 1e-30, -1e-30])
    assert soft_right(margins, torch.finfo(torch.float64).tiny).tolist() == [1, 1, 0, 0, 1, 0]
