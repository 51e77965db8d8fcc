"""What an explanation compares with, where nothing was given: the images themselves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from captum_paramsal.errors import InputError
from captum_paramsal.profiles import LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.sources import ImageSource, SourceBatches
from captum_paramsal.stats import MINIMUM_EXCESSES

TAIL = 0.10
"""Share of the images in the tails that an explanation fits itself."""


def require_enough(images: int) -> None:
    """Make sure, before the long pass, that tails can be fitted to so many images.

    Raises:
        InputError: They cannot.
    """
    if not _are_enough(images):
        least = next(count for count in range(images, 10**6) if _are_enough(count))
        message = (
            f"Expected at least {least} images to fit the tails of the filters on, got {images}. "
            "Give a reference that was taken on more."
        )
        raise InputError(message)


def fit_halves(
    model: nn.Module,
    images: ImageSource,
    positions: Sequence[int],
    *,
    layers: LayerSelection | None,
    batch_size: int,
    device: torch.device,
    show_progress: bool,
) -> tuple[Reference, ...]:
    """Take the statistics of two halves of the images apart, so that each can be checked on the other.

    Merged, they are the reference of all of them.

    Args:
        model: On ``device``.
        images: Labelled images.
        positions: Those that can be read; every second one goes to the second half.
        layers: Layers to score.
        batch_size: Images per forward and backward pass.
        device: Where to compute.
        show_progress: Show progress bars.

    Returns:
        The two references; or a single one of all, where half of the images are too few to fit tails on.
    """
    parts = (positions[::2], positions[1::2]) if _are_enough(len(positions) // 2) else (positions,)

    batches = SourceBatches(images, model, batch_size=batch_size, device=device)
    # Each half keeps as many of its largest values as the whole needs.
    total = len(positions)
    return tuple(
        Reference.fit(model, batches.at(part), layers=layers, tail=TAIL, total=total, show_progress=show_progress)
        for part in parts
    )


def _are_enough(images: int) -> bool:
    """The threshold is one of the largest values itself, and the excesses are what lies above it."""
    return -(-images // round(1 / TAIL)) > MINIMUM_EXCESSES
