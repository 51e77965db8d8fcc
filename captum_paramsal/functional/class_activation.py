"""Class activation maps: the feature maps of a layer, weighted by what they do for a class.

Maps m are ``(N, K, H, W)``, gradients g those of a class's score with respect to them; every result is
``(N, 1, H, W)`` and nowhere below 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

_PLACES = (-2, -1)


def grad_cam(gradients: Tensor, maps: Tensor) -> Tensor:
    """``max(0, Σ_k w_k m_k)``, where w_k is the mean of channel k's gradient over its places.

    Args:
        gradients: g, ``(N, K, H, W)``.
        maps: m, ``(N, K, H, W)``.

    References:
        Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.

    >>> maps = torch.tensor([[[[1.0, 0.0]], [[0.0, 3.0]]]])
    >>> grad_cam(torch.tensor([[[[1.0, 0.0]], [[-1.0, -1.0]]]]), maps)
    tensor([[[[0.5000, 0.0000]]]])
    """
    return _summed(gradients.mean(dim=_PLACES, keepdim=True), maps)


def layer_cam(gradients: Tensor, maps: Tensor) -> Tensor:
    """``max(0, Σ_k max(0, g_k) m_k)``: each place of each channel by its own gradient.

    Args:
        gradients: g, ``(N, K, H, W)``.
        maps: m, ``(N, K, H, W)``.

    References:
        Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE Transactions on
        Image Processing 2021.

    >>> maps = torch.tensor([[[[1.0, 0.0]], [[0.0, 3.0]]]])
    >>> layer_cam(torch.tensor([[[[1.0, 0.0]], [[-1.0, 1.0]]]]), maps)
    tensor([[[[1., 3.]]]])
    """
    return _summed(gradients.relu(), maps)


def finer_cam(gradients: Tensor, of_similar: Tensor, maps: Tensor, strength: float = 0.6) -> Tensor:
    """Grad-CAM of what sets a class apart: of ``y_c - strength · mean_d y_d``, d the classes that are similar to c.

    Args:
        gradients: Those of y_c, ``(N, K, H, W)``.
        of_similar: Those of each y_d, ``(D, N, K, H, W)``.
        maps: m, ``(N, K, H, W)``.
        strength: How much of the others is taken away; with 0 it is Grad-CAM.

    References:
        Zhang et al., Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation, CVPR 2025,
        arXiv 2501.11309. The plain mean of the differences, as in the authors' first program.
    """
    return grad_cam(gradients - strength * of_similar.mean(dim=0), maps)


def nearest_classes(scores: Tensor, labels: Tensor, count: int) -> Tensor:
    """The classes whose scores are nearest to that of each image's own class, ``(N, count)``, the nearest first.

    Args:
        scores: ``(N, C)``.
        labels: Own classes, ``(N,)``.
        count: How many; fewer than C.

    >>> nearest_classes(torch.tensor([[5.0, 1.0, 4.0, 9.0]]), torch.tensor([0]), 2)
    tensor([[2, 1]])
    """
    away = (scores - scores.gather(1, labels[:, None])).abs()
    away = away.scatter(1, labels[:, None], torch.inf)
    return away.argsort(dim=1, stable=True)[:, :count]


def ablation_cam(drops: Tensor, maps: Tensor) -> Tensor:
    """``max(0, Σ_k w_k m_k)``, where w_k is by how much the class's score falls when channel k is zero.

    The paper divides by the score itself, the same for all channels: that is left out, since it would turn the map
    around where the score is negative.

    Args:
        drops: w, ``(N, K)``.
        maps: m, ``(N, K, H, W)``.

    References:
        Desai and Ramaswamy, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
        Localization, WACV 2020.

    >>> ablation_cam(torch.tensor([[2.0, -1.0]]), torch.tensor([[[[1.0, 0.0]], [[0.0, 3.0]]]]))
    tensor([[[[2., 0.]]]])
    """
    return _summed(drops[..., None, None], maps)


def channel_masks(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Every channel, enlarged and stretched to reach from 0 to 1; NaN where it is the same everywhere.

    Args:
        maps: m, ``(N, K, H, W)``.
        size: That of the images.
    """
    large = interpolate(maps, size, mode="bilinear")
    low, high = large.amin(dim=_PLACES, keepdim=True), large.amax(dim=_PLACES, keepdim=True)
    return (large - low) / (high - low)


def score_cam(scores: Tensor, maps: Tensor) -> Tensor:
    """``max(0, Σ_k w_k m_k)``, w being the softmax over channels of the class's score for the image under each's mask.

    The score of an empty image, which the paper takes from all of them, changes nothing in their softmax.

    Args:
        scores: ``(N, K)``, one for each of :func:`channel_masks`; NaN for channels that have no mask.
        maps: m, ``(N, K, H, W)``.

    References:
        Wang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks, CVPR Workshops
        2020, algorithm 1.

    >>> score_cam(torch.tensor([[1.0, torch.nan]]), torch.tensor([[[[1.0, 0.0]], [[3.0, 3.0]]]]))
    tensor([[[[1., 0.]]]])
    """
    weights = scores.masked_fill(scores.isnan(), -torch.inf).softmax(dim=1).nan_to_num(0.0)
    return _summed(weights[..., None, None], maps)


def _summed(weights: Tensor, maps: Tensor) -> Tensor:
    return (weights * maps).sum(dim=1, keepdim=True).relu()
