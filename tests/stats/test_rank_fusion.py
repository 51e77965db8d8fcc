"""Several rankings made one."""

import torch

from captum_paramsal.stats import reciprocal_rank_fusion


def test_sums_of_reciprocal_ranks():
    one, other = torch.tensor([[5.0, 1.0, 3.0]]), torch.tensor([[10.0, 20.0, 30.0]])
    expected = torch.tensor([[1 / 11 + 1 / 13, 1 / 13 + 1 / 12, 1 / 12 + 1 / 11]]).double()
    torch.testing.assert_close(reciprocal_rank_fusion([one, other]), expected, rtol=0, atol=1e-6)


def test_equal_scores_share_their_rank_and_scales_do_not_matter():
    scores = torch.tensor([2.0, 2.0, -1.0])
    fused = reciprocal_rank_fusion([scores], offset=1)
    torch.testing.assert_close(fused, torch.tensor([1 / 2.5, 1 / 2.5, 1 / 4]).double(), rtol=0, atol=1e-7)
    assert torch.equal(reciprocal_rank_fusion([scores, -scores]), reciprocal_rank_fusion([1e6 * scores, -scores]))
