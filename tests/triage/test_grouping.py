"""Groups of images whose filters stand out together."""

import torch

from captum_paramsal.triage import group_by_similarity, nearest_by_similarity


def two_kinds(alone=0):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(30 + alone, 80, generator=generator)
    scores[:18, :10] += 4
    scores[18:30, 10:20] += 4
    return scores


def test_kinds_are_told_apart():
    groups, similarity = group_by_similarity(two_kinds())
    assert groups.tolist() == [0] * 18 + [1] * 12
    assert (similarity > 0.5).all()


def test_similarity_is_the_mean_cosine_with_the_others():
    scores = two_kinds()
    _, similarity = group_by_similarity(scores)
    raised = torch.nn.functional.normalize(scores.double().clamp(min=0), dim=1)
    cosines = raised @ raised.T
    torch.testing.assert_close(similarity[3], (cosines[3, :18].sum() - 1) / 17)


def test_independent_scores_make_few_groups():
    """99 % of pairs by chance are less alike than what joins a group."""
    generator = torch.Generator().manual_seed(1)
    groups, _ = group_by_similarity(torch.randn(100, 300, generator=generator), smallest=3)
    assert (groups >= 0).sum() <= 12


def test_too_few_and_nothing_raised():
    assert group_by_similarity(torch.ones(2, 5))[0].tolist() == [-1, -1]
    groups, similarity = group_by_similarity(-torch.ones(6, 5))
    assert groups.tolist() == [-1] * 6
    assert similarity.isnan().all()
    assert group_by_similarity(two_kinds()[:4], smallest=5)[0].tolist() == [-1] * 4


def test_the_nearest_are_those_of_the_largest_cosines():
    scores = torch.cat([two_kinds(), -torch.ones(1, 80)])
    numbers, similarity = nearest_by_similarity(scores, k=3)
    raised = torch.nn.functional.normalize(scores.double().clamp(min=0), dim=1)
    cosines = (raised @ raised.T).fill_diagonal_(-1)
    assert torch.equal(numbers[:30], cosines.topk(3, dim=1).indices[:30])
    torch.testing.assert_close(similarity, cosines.topk(3, dim=1).values)
    # Nothing is raised in the last one: it is as far from all, and the first come first.
    assert (numbers[30].tolist(), similarity[30].tolist()) == ([0, 1, 2], [0.0, 0.0, 0.0])
    assert [part.shape for part in nearest_by_similarity(scores[:2], k=3)] == [(2, 1), (2, 1)]
    assert [part.shape for part in nearest_by_similarity(scores[:1])] == [(1, 0), (1, 0)]
