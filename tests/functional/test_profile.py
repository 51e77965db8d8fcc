import pytest
import torch

from captum_paramsal import FilterIndex, InputError
from captum_paramsal.functional import (
    boosted_similarity,
    cosine,
    mean_abs,
    normalized_per_class,
    profile_curve,
    relevant_channels,
    standardize,
)


def test_absolute_value_comes_before_the_mean():
    assert mean_abs(torch.tensor([[1.0, -1.0], [2.0, 0.0]])).tolist() == [1.0, 1.0]


def test_a_dead_filter_is_never_first_even_where_all_others_are_low():
    mean, std = torch.tensor([5.0, 5.0, 0.0]), torch.tensor([1.0, 2.0, 0.0])
    scores = standardize(torch.tensor([[1.0, 1.0, 0.0], [9.0, 9.0, 7.0]]), mean, std)
    assert scores.tolist() == [[-4.0, -2.0, -4.0], [4.0, 2.0, 2.0]]
    assert (scores.argmax(dim=1) != 2).all()


def test_dead_filters_alone_score_zero():
    assert standardize(torch.tensor([[3.0, 0.0]]), torch.zeros(2), torch.zeros(2)).tolist() == [[0.0, 0.0]]


def test_what_varies_by_rounding_alone_is_dead():
    mean, std = torch.tensor([5.0, 5.0, 1e-30]), torch.tensor([1.0, 1e-7, 1e-31])
    scores = standardize(torch.tensor([[4.0, 9.0, 2e-30]]), mean, std)
    assert scores.tolist() == [[-1.0, -1.0, pytest.approx(10.0)]]


def test_standardizing_changes_none_of_its_arguments():
    profile, mean, std = torch.rand(2, 3), torch.rand(3), torch.tensor([0.0, 1e-20, 1.0])
    before = [tensor.clone() for tensor in (profile, mean, std)]
    standardize(profile, mean, std)
    for tensor, kept in zip((profile, mean, std), before, strict=True):
        assert torch.equal(tensor, kept)


def test_curve_sorts_within_layers_and_gives_each_the_same_width():
    filters = FilterIndex({"a": 1, "b": 4})
    x, y = profile_curve(torch.tensor([[0.0, 3.0, 1.0, 4.0, 1.0], [5.0, 0.0, 0.0, 0.0, 9.0]]), filters)
    assert x.tolist() == [0.5, 1.125, 1.375, 1.625, 1.875]
    assert y.tolist() == [[0.0, 4.0, 3.0, 1.0, 1.0], [5.0, 9.0, 0.0, 0.0, 0.0]]


def test_curve_of_other_filters_is_refused():
    with pytest.raises(InputError, match=r"\(\.\.\., 5\), got \(3,\)"):
        profile_curve(torch.zeros(3), FilterIndex({"a": 1, "b": 4}))


def test_nothing_stands_out_more_where_there_is_nothing_else():
    scores = torch.zeros(3, 8)
    scores[0, [2, 5]] = torch.tensor([0.7, 1.3])
    scores[1] = torch.linspace(0.1, 0.8, 8)
    scores.requires_grad_()
    similarity = boosted_similarity(scores, top_k=3, boost=100.0)
    (gradient,) = torch.autograd.grad(similarity.sum(), scores)
    assert similarity[0].item() == pytest.approx(1)
    assert torch.equal(gradient[0], torch.zeros(8))
    assert torch.equal(gradient[2], torch.zeros(8))
    assert gradient[1].abs().max() > 1e-3


@pytest.mark.parametrize("power", [-120, -60, -30, 40, 100])
def test_similarity_does_not_depend_on_the_scale(power):
    scores = torch.rand(4, 30, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(boosted_similarity(scores, 3, 100.0).sum(), scores)
    scaled = (scores.detach() * 2.0**power).requires_grad_()
    similarity = boosted_similarity(scaled, 3, 100.0)
    assert torch.equal(similarity, boosted_similarity(scores, 3, 100.0))
    (other,) = torch.autograd.grad(similarity.sum(), scaled)
    assert torch.equal(other * 2.0**power, gradient)


def test_similarity_with_nothing():
    rows = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    torch.testing.assert_close(cosine(rows, rows), torch.tensor([0.0, 1.0]))
    assert cosine(rows[:, :0], rows[:, :0]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-12, 1e9])
def test_relevant_channels_do_not_depend_on_the_scale(scale):
    correlation = torch.rand(3, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(relevant_channels(scale * correlation), relevant_channels(correlation))
    assert normalized_per_class(torch.full((1, 3), scale)).tolist() == [[0.0, 0.0, 0.0]]
