"""What a treatment asks of the evidence for a class, see :mod:`captum_paramsal.functional.evidence`.

Everything here is differentiable and keeps the images apart.

References:
    Feng et al., Model Doctor: A Simple Gradient Aggregation Strategy for Diagnosing and Treating CNN Classifiers,
    AAAI 2022, arXiv 2112.04934.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def channel_penalty(evidence: Tensor, channels: Tensor) -> Tensor:
    """Evidence in channels that should not speak: sum_k c(k) sum_hw G(k, h, w).

    Args:
        evidence: G, ``(B, K, H, W)``.
        channels: c, ``(B, K)``: 1 for a channel that should be silent, 0 for one that may speak.

    Returns:
        ``(B,)``.

    >>> channel_penalty(torch.ones(1, 2, 3, 3), torch.tensor([[True, False]]))
    tensor([9.])
    """
    return (evidence.sum(dim=(2, 3)) * channels.to(evidence.dtype)).sum(dim=1)


def space_penalty(evidence: Tensor, foreground: Tensor) -> Tensor:
    """Evidence in the background: sum_khw (1 - f(h, w)) G(k, h, w).

    Args:
        evidence: G, ``(B, K, H, W)``.
        foreground: f, ``(B, H, W)`` in [0, 1].

    Returns:
        ``(B,)``.

    >>> space_penalty(torch.ones(1, 5, 2, 2), torch.tensor([[[1.0, 1.0], [0.5, 0.0]]]))
    tensor([7.5000])
    """
    return (evidence.sum(dim=1) * (1 - foreground.to(evidence.dtype))).sum(dim=(1, 2))


def foreground_at(foreground: Tensor, size: tuple[int, int]) -> Tensor:
    """A foreground at the resolution of feature maps: the mean over the pixels that each place stands for.

    Args:
        foreground: ``(B, h, w)`` in [0, 1].
        size: Height and width of the maps.

    Returns:
        ``(B, *size)`` in [0, 1].

    >>> foreground_at(torch.tensor([[[1.0, 1.0, 0.0, 1.0]]]), (1, 2))
    tensor([[[1.0000, 0.5000]]])
    """
    return functional.interpolate(foreground.unsqueeze(1), size, mode="area").squeeze(1)


def strongest_wrong_class(scores: Tensor, labels: Tensor) -> Tensor:
    """The most probable wrong class: the prediction where it is wrong, else the second most probable.

    Args:
        scores: ``(B, C)``, two classes or more.
        labels: ``(B,)``.

    Returns:
        ``(B,)`` int64.

    >>> strongest_wrong_class(torch.tensor([[3.0, 2.0, 1.0]] * 2), torch.tensor([0, 1])).tolist()
    [1, 0]
    """
    return scores.detach().scatter(1, labels.unsqueeze(1), -torch.inf).argmax(dim=1)
