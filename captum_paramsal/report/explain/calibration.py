"""Are the p-values what they say? Their shares below small levels, on images that the tails were not fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

HeldOut: TypeAlias = Literal["given", "halves", "same"]
"""Where the tails of a check come from: a reference that was given; each half of the images from the other half; or
these same images, so that nothing is held out."""


@dataclass(frozen=True)
class Shares:
    """Share of the p-values of some images at or below each level.

    Attributes:
        images: How many images were scored for it.
        share: One per level.
        error: Standard error of each.
    """

    images: int
    share: tuple[float, ...]
    error: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """Observed beside expected shares of small p-values.

    Attributes:
        levels: Expected shares, ascending.
        held_out: Where the tails come from.
        reference_images: How many images the tails were fitted on.
        overall: All images together, correct and wrong in their true proportion, as they are in a reference: for them
            the share should be the level. Its error is that of these images and of the reference.
        correct: Correctly classified images alone, whose share should be smaller.
        mistakes: Mistakes alone, whose share should be larger.
    """

    levels: tuple[float, ...]
    held_out: HeldOut
    reference_images: int
    overall: Shares
    correct: Shares
    mistakes: Shares


def calibrate(
    levels: Tensor, shares: tuple[Tensor, Tensor], images: tuple[int, int], *, held_out: HeldOut, reference_images: int
) -> Calibration:
    """Put the shares of single images together.

    Args:
        levels: ``(L,)``.
        shares: Share of each scored image's p-values at or below each level, ``(N, L)``, of correctly classified images
            and of mistakes; any number of each, chosen without regard to their scores.
        images: How many were classified correctly and wrongly in all.
        held_out: Where the tails come from.
        reference_images: How many images they were fitted on.
    """
    total = sum(images)
    weights = [count / total for count in images]
    groups = [(weight, *_moments(rows)) for weight, rows in zip(weights, shares, strict=True)]
    mean = torch.stack([weight * centre for weight, centre, _, _ in groups]).sum(dim=0)
    between = torch.stack([weight * (centre - mean).square() for weight, centre, _, _ in groups]).sum(dim=0)
    within = torch.stack([weight * variance for weight, _, variance, _ in groups]).sum(dim=0)
    sampled = torch.stack([weight**2 * variance / max(count, 1) for weight, _, variance, count in groups]).sum(dim=0)
    # The reference is a sample too: its own images, as dependent in themselves, decided where the tails lie.
    error = (sampled + between / total + (between + within) / reference_images).sqrt()
    overall = Shares(sum(map(len, shares)), _rounded(mean), _rounded(error))
    alone = [_alone(rows) for rows in shares]
    return Calibration(tuple(levels.tolist()), held_out, reference_images, overall, *alone)


def _moments(rows: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and variance between images, 0 where there are too few to tell, and their number."""
    nothing = rows.new_zeros(rows.shape[1])
    mean = rows.mean(dim=0) if len(rows) else nothing
    return mean, rows.var(dim=0) if len(rows) > 1 else nothing, len(rows)


def _alone(rows: Tensor) -> Shares:
    mean, variance, count = _moments(rows)
    return Shares(count, _rounded(mean), _rounded((variance / max(count, 1)).sqrt()))


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values.tolist())
