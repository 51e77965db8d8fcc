"""Class activation maps against their equations, place by place and channel by channel."""

from math import exp

import pytest
import torch
from torch.nn.functional import interpolate

from captum_paramsal.functional import (
    ablation_cam,
    channel_masks,
    finer_cam,
    grad_cam,
    layer_cam,
    nearest_classes,
    score_cam,
)

N, K, H, W = 2, 4, 3, 5
PLACES = [(i, j) for i in range(H) for j in range(W)]


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


GRADIENTS, MAPS = numbers(N, K, H, W), numbers(N, K, H, W, seed=1).relu()


def drawn(value_at):
    """``max(0, value)`` at every place of every image."""
    result = torch.zeros(N, 1, H, W, dtype=torch.float64)
    for n in range(N):
        for i, j in PLACES:
            result[n, 0, i, j] = max(0.0, float(value_at(n, i, j)))
    return result


def mean_of(gradients, n, k):
    return sum(float(gradients[n, k, a, b]) for a, b in PLACES) / len(PLACES)


def test_grad_cam():
    expected = drawn(lambda n, i, j: sum(mean_of(GRADIENTS, n, k) * MAPS[n, k, i, j] for k in range(K)))
    torch.testing.assert_close(grad_cam(GRADIENTS, MAPS), expected)


def test_layer_cam():
    expected = drawn(lambda n, i, j: sum(max(0.0, GRADIENTS[n, k, i, j]) * MAPS[n, k, i, j] for k in range(K)))
    torch.testing.assert_close(layer_cam(GRADIENTS, MAPS), expected)


@pytest.mark.parametrize("strength", [0.6, 0.0])
def test_finer_cam(strength):
    others = numbers(3, N, K, H, W, seed=2)

    def weight(n, k):
        away = sum(mean_of(other, n, k) for other in others) / 3
        return mean_of(GRADIENTS, n, k) - strength * away

    expected = drawn(lambda n, i, j: sum(weight(n, k) * MAPS[n, k, i, j] for k in range(K)))
    torch.testing.assert_close(finer_cam(GRADIENTS, others, MAPS, strength), expected)


def test_ablation_cam():
    drops = numbers(N, K, seed=3)
    expected = drawn(lambda n, i, j: sum(drops[n, k] * MAPS[n, k, i, j] for k in range(K)))
    torch.testing.assert_close(ablation_cam(drops, MAPS), expected)


def test_score_cam_leaves_out_channels_without_a_mask():
    scores = numbers(N, K, seed=4)
    scores[1, 2] = torch.nan
    known = [[0, 1, 2, 3], [0, 1, 3]]

    def weight(n, k):
        return exp(scores[n, k]) / sum(exp(scores[n, other]) for other in known[n])

    expected = drawn(lambda n, i, j: sum(weight(n, k) * MAPS[n, k, i, j] for k in known[n]))
    torch.testing.assert_close(score_cam(scores, MAPS), expected)
    assert not score_cam(torch.full_like(scores, torch.nan), MAPS).any()


def test_score_cam_does_not_change_with_the_score_of_an_empty_image():
    scores = numbers(N, K, seed=4)
    torch.testing.assert_close(score_cam(scores - 7, MAPS), score_cam(scores, MAPS))


def test_masks_reach_from_zero_to_one_and_a_constant_channel_has_none():
    maps = MAPS.clone()
    maps[0, 1] = 3.0
    masks = channel_masks(maps, (6, 10))
    large = interpolate(maps, (6, 10), mode="bilinear")
    for n in range(N):
        for k in range(K):
            if (n, k) == (0, 1):
                assert masks[n, k].isnan().all()
                continue
            low, high = float(large[n, k].min()), float(large[n, k].max())
            torch.testing.assert_close(masks[n, k], (large[n, k] - low) / (high - low))


def test_nearest_classes():
    scores, labels = numbers(6, 5, seed=5), torch.tensor([0, 1, 2, 3, 4, 0])
    for row, label, found in zip(scores, labels.tolist(), nearest_classes(scores, labels, 3).tolist(), strict=True):
        others = [c for c in range(5) if c != label]
        assert found == sorted(others, key=lambda c: abs(float(row[c] - row[label])))[:3]
    # Of classes that are equally near, the first.
    assert nearest_classes(torch.zeros(1, 4), torch.tensor([1]), 3).tolist() == [[0, 2, 3]]
