"""Rankings of filters to compare with."""

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from captum_paramsal.errors import InterventionError
from captum_paramsal.filters import FilterIndex
from captum_paramsal.repair import channel_scores, magnitude_ranking, random_ranking, restrict_to_layers, ties_by

FILTERS = FilterIndex({"stem": 2, "block.one": 3, "block.two": 1})


def test_a_random_order_for_each_image():
    found = random_ranking(FILTERS, 50, seed=3)
    assert found.shape == (50, 6)
    assert torch.equal(found, random_ranking(FILTERS, 50, seed=3))
    assert len(found.argsort(dim=1).unique(dim=0)) > 30


def test_magnitude_is_the_mean_absolute_weight():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 1))
    filters = FilterIndex({"0": 2, "1": 3})
    expected = torch.cat([layer.weight.detach().abs().flatten(1).mean(dim=1) for layer in model])
    torch.testing.assert_close(magnitude_ranking(model, filters), expected)


def test_other_layers_come_behind():
    ranking = torch.arange(6.0).expand(2, 6)
    found = restrict_to_layers(ranking, FILTERS, "block.*")
    assert found.argsort(dim=1, descending=True)[:, :4].tolist() == [[5, 4, 3, 2]] * 2
    assert found[:, :2].isneginf().all()
    assert restrict_to_layers(ranking[0], FILTERS, "stem").isfinite().tolist() == [True, True] + [False] * 4
    with pytest.raises(InterventionError, match=r"stem, block.one, block.two, got 'head.\*'"):
        restrict_to_layers(ranking, FILTERS, "head.*")


def test_maps_of_layers_become_scores_of_filters():
    maps = torch.tensor([[[1.0, -2.0], [0.5, 0.5], [0.0, 3.0]]])
    found = channel_scores({"block.one": maps}, FILTERS)
    assert found[0, 2:5].tolist() == [3.0, 1.0, 3.0]
    assert found[0, [0, 1, 5]].isneginf().all()
    with pytest.raises(InterventionError, match=r"\(1, 3, 2\) for 'stem', which has 2 filters"):
        channel_scores({"stem": maps}, FILTERS)
    with pytest.raises(InterventionError, match="which has no filters"):
        channel_scores({"head": maps}, FILTERS)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_ties_are_broken_by_the_other_and_then_by_number(pairs):
    ranking, other = torch.tensor(pairs, dtype=torch.float64).T
    found = ties_by(ranking, other)
    order = sorted(range(len(pairs)), key=lambda one: (-pairs[one][0], -pairs[one][1], one))
    assert found.argsort(descending=True).tolist() == order
    assert sorted(found.tolist()) == list(range(len(pairs)))
    assert torch.equal(ties_by(ranking.expand(2, -1), other.expand(2, -1)), found.expand(2, -1))


def test_ties_of_rankings_that_do_not_go_together():
    with pytest.raises(InterventionError, match=r"got \(2, 6\) and \(6,\)"):
        ties_by(torch.zeros(2, 6), torch.zeros(6))
