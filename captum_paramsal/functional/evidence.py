"""Evidence for a class: what every place of every channel contributes to its score.

With m the feature maps of an image and z_n the score of class n, the evidence for n is G = abs(dz_n / dm), one number
per channel k and place (h, w).

References:
    Feng et al., Model Doctor: A Simple Gradient Aggregation Strategy for Diagnosing and Treating CNN Classifiers,
    AAAI 2022, arXiv 2112.04934.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from torch import Tensor

Reduce: TypeAlias = Literal["abs", "relu"]
"""What of a gradient counts: its size, as in the paper, or its positive part, as in the authors' program."""


def evidence_of(gradients: Tensor, maps: Tensor, *, reduce: Reduce = "abs", multiply_by_inputs: bool = False) -> Tensor:
    """Evidence G of every channel and place for a class, from the gradients of its score.

    Args:
        gradients: dz_n / dm, ``(B, K, H, W)``.
        maps: m, ``(B, K, H, W)``.
        reduce: "abs" for abs(dz_n / dm), "relu" for max(0, dz_n / dm).
        multiply_by_inputs: Take dz_n / dm · m in the place of dz_n / dm.

    Returns:
        ``(B, K, H, W)``, nowhere below 0.

    References:
        Feng et al., AAAI 2022, equation 1.

    >>> import torch
    >>> evidence_of(torch.tensor([-2.0, 3.0]), torch.ones(2), reduce="relu")
    tensor([0., 3.])
    """
    products = gradients * maps if multiply_by_inputs else gradients
    return products.relu() if reduce == "relu" else products.abs()


def averaged_evidence(
    gradients: Sequence[Tensor], maps: Tensor, *, reduce: Reduce = "abs", multiply_by_inputs: bool = False
) -> Tensor:
    """Mean evidence over J perturbed copies of the maps: 1 / J sum_j abs(dz_n / d(m + e_j)).

    Args:
        gradients: dz_n / d(m + e_j) of each copy, ``(B, K, H, W)`` each.
        maps: m, not perturbed, ``(B, K, H, W)``.
        reduce: As in :func:`evidence_of`.
        multiply_by_inputs: The same.

    Returns:
        ``(B, K, H, W)``, nowhere below 0.

    References:
        Feng et al., AAAI 2022, equation 1.

    >>> import torch
    >>> averaged_evidence([torch.tensor([-2.0, 3.0]), torch.tensor([2.0, 1.0])], torch.ones(2))
    tensor([2., 2.])
    """
    first, *rest = (
        evidence_of(gradient, maps, reduce=reduce, multiply_by_inputs=multiply_by_inputs) for gradient in gradients
    )
    return sum(rest, start=first) / len(gradients)
