"""Effects of filters against least squares written out, and the groups that are ablated."""

import numpy as np
import pytest
import torch

from captum_paramsal.functional import ablation_groups, agreement, component_effects, log_odds


def ridge_of_rows(ablated, changes, ridge):
    """Least squares with a row more for each filter, which asks for an effect of 0."""
    filters = ablated.shape[1]
    weight = np.sqrt(ridge * ablated.sum() / filters)
    design = np.vstack([ablated.astype(float), weight * np.eye(filters)])
    wanted = np.vstack([changes, np.zeros((filters, changes.shape[1]))])
    return np.linalg.lstsq(design, wanted, rcond=None)[0].T


@pytest.mark.parametrize(("passes", "filters"), [(40, 11), (9, 23)])
@pytest.mark.parametrize("ridge", [0.0, 0.01, 2.0])
def test_effects_are_those_of_least_squares(passes, filters, ridge):
    random = np.random.default_rng(3)
    ablated, changes = random.random((passes, filters)) < 0.3, random.normal(size=(passes, 4))
    effects = component_effects(torch.from_numpy(ablated), torch.from_numpy(changes), ridge)
    np.testing.assert_allclose(effects.numpy(), ridge_of_rows(ablated, changes, ridge), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("filters", "groups", "passes"), [(10, 3, 14), (7, 7, 7), (5, 2, 4)])
def test_every_round_ablates_each_filter_once(filters, groups, passes):
    masks = ablation_groups(filters, groups, passes, seed=1)
    assert masks.shape == (passes, filters)
    for start in range(0, passes - groups + 1, groups):
        assert masks[start : start + groups].sum(dim=0).tolist() == [1] * filters
    times = masks.sum(dim=0)
    assert times.max() - times.min() <= 1
    sizes = masks.sum(dim=1)
    assert sizes.max() - sizes.min() <= 1
    assert torch.equal(masks, ablation_groups(filters, groups, passes, seed=1))


def test_log_odds_are_those_of_the_softmax():
    scores = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    shares = scores.softmax(dim=1)[torch.arange(6), labels]
    torch.testing.assert_close(log_odds(scores, labels), (shares / (1 - shares)).log())
    far = torch.tensor([[200.0, 0.0, 0.0]])
    assert log_odds(far, torch.tensor([0])).item() == pytest.approx(200 - np.log(2))


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, 1e-5), (torch.float16, 0.1), (torch.bfloat16, 1.0)])
def test_small_differences_are_not_swallowed_by_the_number_of_classes(dtype, scale):
    scores = (scale * torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))).to(dtype)
    scores[1] = scores[0]
    scores[1, 0] += 8 * torch.finfo(dtype).eps * scores[0].abs().max()
    before, after = log_odds(scores, torch.zeros(2, dtype=torch.int64))
    assert (after - before).item() == pytest.approx(float(scores[1, 0].double() - scores[0, 0].double()), rel=1e-6)


def test_agreement_is_that_of_twice_the_passes():
    first = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    second = torch.stack([first[0], first[1].roll(1), torch.ones(50)])
    correlation = float(np.corrcoef(first[1], second[1])[0, 1])
    expected = [1.0, max(0.0, 2 * correlation / (1 + correlation)), 0.0]
    np.testing.assert_allclose(agreement(first, second).numpy(), expected, atol=1e-6)
