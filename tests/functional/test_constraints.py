import pytest
import torch

from captum_paramsal.functional import (
    channel_penalty,
    evidence_of,
    foreground_at,
    space_penalty,
    strongest_wrong_class,
)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("multiplied", [False, True])
@pytest.mark.parametrize("reduce", ["abs", "relu"])
def test_evidence_of_each_number(reduce, multiplied):
    gradients, maps = drawn(2, 3, 4, 5), drawn(2, 3, 4, 5, seed=1)
    found = evidence_of(gradients, maps, reduce=reduce, multiply_by_inputs=multiplied)
    for place in torch.cartesian_prod(*map(torch.arange, gradients.shape)).tolist():
        one = gradients[tuple(place)] * (maps[tuple(place)] if multiplied else 1)
        assert found[tuple(place)] == (abs(one) if reduce == "abs" else max(one, torch.zeros(())))


def test_penalties_as_sums_over_every_index():
    evidence, channels = drawn(2, 3, 4, 5).abs(), drawn(2, 3, seed=1) > 0
    foreground = drawn(2, 4, 5, seed=2).sigmoid()
    for b in range(2):
        channel = sum(evidence[b, k].sum() for k in range(3) if channels[b, k])
        space = sum(
            (1 - foreground[b, h, w]) * evidence[b, k, h, w] for k in range(3) for h in range(4) for w in range(5)
        )
        torch.testing.assert_close(channel_penalty(evidence, channels)[b], torch.as_tensor(channel).double())
        torch.testing.assert_close(space_penalty(evidence, foreground)[b], space)


@pytest.mark.parametrize("size", [(2, 3), (4, 6), (8, 12)])
def test_foreground_keeps_its_share_of_the_image(size):
    foreground = (drawn(3, 4, 6) > 0).double()
    resized = foreground_at(foreground, size)
    assert resized.shape == (3, *size)
    torch.testing.assert_close(resized.mean(dim=(1, 2)), foreground.mean(dim=(1, 2)))
    assert resized.min() >= 0
    assert resized.max() <= 1


def test_strongest_wrong_class_is_the_prediction_of_a_mistake_and_the_second_of_the_others():
    scores = drawn(20, 5)
    labels = torch.arange(20) % 5
    first, second = scores.argsort(dim=1, descending=True)[:, :2].unbind(dim=1)
    assert torch.equal(strongest_wrong_class(scores, labels), torch.where(first == labels, second, first))
