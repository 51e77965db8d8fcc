"""What an explanation compares with, where nothing was given: the images themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from captum_paramsal.errors import InputError
from captum_paramsal.reference import Reference
from captum_paramsal.sources import SourceBatches
from captum_paramsal.stats import MINIMUM_EXCESSES

TAIL = 0.10
"""Share of the images in the tails that an explanation fits itself."""


def require_enough(images: int) -> None:
    """Make sure, before the long pass, that tails can be fitted to so many images.

    Raises:
        InputError: There are too few.
    """
    if not _are_enough(images):
        least = next(count for count in range(images, 10**6) if _are_enough(count))
        message = (
            f"Expected at least {least} images to fit the tails of the filters on, got {images}. "
            "Give a reference that was taken on more."
        )
        raise InputError(message)


def fit_halves(batches: SourceBatches, folder: Path | None = None, **options: Any) -> tuple[Reference, ...]:
    """Take the statistics of two halves of the images apart, so that each can be checked on the other.

    Merged, they are the reference of all of them.

    Args:
        batches: Images that can be read; every second one goes to the second half.
        folder: Where both are kept until they are complete; None for nowhere.
        options: What both are fitted with, see :meth:`captum_paramsal.Reference.fit`.

    Returns:
        The two references; or a single one of all, where half of the images are too few to fit tails on.
    """
    positions = batches.wanted
    parts = (positions[::2], positions[1::2]) if _are_enough(len(positions) // 2) else (positions,)
    # Each half keeps as many of its largest values as the whole needs.
    total = len(positions)
    places = [None if folder is None else folder / f"reference-{number}" for number in range(len(parts))]
    return tuple(
        Reference.fit(batches.model, batches.at(part), tail=TAIL, total=total, checkpoint=place, **options)
        for part, place in zip(parts, places, strict=True)
    )


def _are_enough(images: int) -> bool:
    """The threshold is one of the largest values itself, and the excesses are what lies above it."""
    return -(-images // round(1 / TAIL)) > MINIMUM_EXCESSES
