"""Grad-CAM++: places of feature maps that raise a class's score, each channel weighted by its own places.

References:
    Chattopadhyay et al., Grad-CAM++: Generalized Gradient-Based Visual Explanations for Deep Convolutional Networks,
    WACV 2018, arXiv 1710.11063.
"""

from __future__ import annotations

from torch import Tensor


def grad_cam_plus_plus(gradients: Tensor, maps: Tensor) -> Tensor:
    """The map of a class, from the gradients of its score z with respect to feature maps m.

    For Y = exp(z) of a network whose second derivatives vanish, such as one of ReLUs, the coefficient of a place (i, j)
    of channel k is ``α = g² / (2 g² + g³ Σ_ab m(k, a, b))``, with ``g = dz / dm(k, i, j)``, and the map is
    ``max(0, Σ_k w_k m_k)`` with ``w_k = Σ_ij α · max(0, g)``. The factor exp(z), common to all channels, is left out.

    Args:
        gradients: g, ``(N, K, H, W)``.
        maps: m, ``(N, K, H, W)``.

    Returns:
        ``(N, 1, H, W)``, nowhere below 0.

    References:
        Chattopadhyay et al., WACV 2018, section 3: the coefficients in closed form, for an exponential of the score.

    >>> import torch
    >>> maps = torch.tensor([[[[1.0, 0.0]], [[0.0, 3.0]]]])
    >>> grad_cam_plus_plus(torch.tensor([[[[1.0, 0.0]], [[-1.0, -1.0]]]]), maps)
    tensor([[[[0.3333, 0.0000]]]])
    """
    # Divided by g², which neither overflows nor vanishes.
    share = 2 + gradients * maps.sum(dim=(-2, -1), keepdim=True)
    coefficients = (1 / share).masked_fill((gradients <= 0) | (share == 0), 0)
    weights = (coefficients * gradients.relu()).sum(dim=(-2, -1), keepdim=True)
    return (weights * maps).sum(dim=1, keepdim=True).relu()
