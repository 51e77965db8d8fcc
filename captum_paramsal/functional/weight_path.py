"""What lies between two checkpoints: unusual changes of filters, and their shares of the difference in loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


def excess_change(before: Tensor, after: Tensor) -> Tensor:
    """How much farther each filter of a layer has moved than the layer's filters usually did.

    ``d[j] = (|w'[j] - w[j]| - median over k of |w'[k] - w[k]|) / (mean over k of |w[k]|)``: after a retraining all
    filters have moved a little, each layer by its own length. 0 in a layer of zeros.

    Args:
        before: Weights of one checkpoint, ``(F, M)``.
        after: Weights of the other, ``(F, M)``.

    Returns:
        ``(F,)``, in lengths of the layer's average filter.

    >>> excess_change(torch.eye(3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]]))
    tensor([0., 0., 2.])
    """
    moved = (after - before).norm(dim=1)
    length = before.norm(dim=1).mean()
    return torch.where(length > 0, (moved - moved.quantile(0.5)) / length, 0.0)


def statistics_gradients(weight: Tensor, var: Tensor, eps: float, of_weight: Tensor, of_bias: Tensor) -> list[Tensor]:
    """Gradients of a norm's running mean and variance, from those of its weight and bias.

    Of ``y = γ (x - μ) / √(v + ε) + β``: ``∂L/∂μ = -γ / √(v + ε) ∂L/∂β`` and ``∂L/∂v = -γ / (2 (v + ε)) ∂L/∂γ``. PyTorch
    takes no gradient of buffers.

    Args:
        weight: γ, ``(C,)``.
        var: v, ``(C,)``.
        eps: ε.
        of_weight: ∂L/∂γ, ``(C,)``.
        of_bias: ∂L/∂β, ``(C,)``.

    Returns:
        ∂L/∂μ and ∂L/∂v, ``(C,)`` each.

    >>> statistics_gradients(torch.tensor([2.0]), torch.tensor([4.0]), 0.0, torch.tensor([8.0]), torch.tensor([3.0]))
    [tensor([-3.]), tensor([-2.])]
    """
    return [-weight / (var + eps).sqrt() * of_bias, -weight / (2 * (var + eps)) * of_weight]


def statistics_shift(before: Sequence[Tensor], after: Sequence[Tensor], eps: float) -> Tensor:
    """How far the running statistics of a norm have moved, in standard deviations of what it normalizes.

    The root of the mean over channels of ``(μ' - μ)² / σ² + log²(σ' / σ)``, with ``σ² = v + ε``.

    Args:
        before: Running mean and variance of one checkpoint, ``(C,)`` each.
        after: Those of the other.
        eps: ε.

    Returns:
        A number, 0-d.

    >>> one = torch.ones(3)
    >>> statistics_shift((one, one), (3 * one, one), 0.0), statistics_shift((one, one), (one, one), 0.0)
    (tensor(2.), tensor(0.))
    """
    (mean, var), (other_mean, other_var) = before, after
    of_means = (other_mean - mean).square() / (var + eps)
    of_widths = (((other_var + eps) / (var + eps)).log() / 2).square()
    return (of_means + of_widths).mean().sqrt()


def path_shares(
    gradients: Callable[[float], Sequence[Tensor]], changes: Sequence[Tensor], steps: int
) -> tuple[Tensor, ...]:
    """Shares of the parameters in what a function changes by on the straight line between two checkpoints.

    ``c[i] = Δ[i] · ∫ ∂L/∂θ[i] (θ + α Δ) dα`` over α from 0 to 1: integrated gradients in the space of the weights. All
    shares together are ``L(θ + Δ) - L(θ)`` (completeness); the integral is taken by Gauss and Legendre's rule, which is
    exact where the gradient is a polynomial in α of a degree below ``2 * steps``.

    Args:
        gradients: From α to the gradients at that place, shaped like ``changes``.
        changes: Δ, a tensor for each parameter.
        steps: Places on the line.

    Returns:
        One tensor for each parameter, in its shape.

    >>> path_shares(lambda share: [2 * torch.tensor([3.0 * share])], [torch.tensor([3.0])], steps=1)
    (tensor([9.]),)
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    sums = [torch.zeros_like(change) for change in changes]
    for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        for total, gradient in zip(sums, gradients((node + 1) / 2), strict=True):
            total.add_(gradient, alpha=weight / 2)
    return tuple(total * change for total, change in zip(sums, changes, strict=True))
