"""Which mistakes may be none: those whose label the model and the labels of similar images speak against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from captum_paramsal.errors import InputError, ModelError
from captum_paramsal.sources import SourceBatches
from captum_paramsal.stats import median
from captum_paramsal.triage import label_doubts

_NEIGHBORS = 30
_FEWEST = 5
"""Neighbours that can say something."""


@dataclass(frozen=True)
class MistakeDoubt:
    """What speaks against a mistake's label.

    Attributes:
        doubt: One minus the mean of confidence and support.
        confidence: Softmax probability of the label.
        support: Share of the nearest images that have the label.
        suggested: The class that both speak for most.
        suggested_confidence: Softmax probability of that class.
        suggested_support: Share of the nearest images with that class.
        likely_wrong: Whether that is another class, with more than half of both.
    """

    doubt: float
    confidence: float
    support: float
    suggested: int
    suggested_confidence: float
    suggested_support: float
    likely_wrong: bool


@dataclass(frozen=True)
class LabelDoubts:
    """Doubts of the labels of all mistakes.

    Attributes:
        neighbors: Similar images whose labels were asked for each.
        refused: Why nothing is said of the labels; empty where it is.
        of_mistakes: One for each mistake, in their order; none where nothing is said.
    """

    neighbors: int = 0
    refused: str = ""
    of_mistakes: tuple[MistakeDoubt, ...] = ()

    @property
    def likely_wrong(self) -> list[int]:
        """Numbers of the mistakes whose labels are likely wrong, the most doubtful first."""
        found = [number for number, one in enumerate(self.of_mistakes) if one.likely_wrong]
        return sorted(found, key=lambda number: -self.of_mistakes[number].doubt)


def doubts_of_mistakes(
    model: nn.Module, batches: SourceBatches, labels: Sequence[int], mistakes: Sequence[int], *, show_progress: bool
) -> LabelDoubts:
    """Ask model and neighbours about the label of every mistake.

    Args:
        model: The classifier.
        batches: All images, mistakes and correct ones, in the order of the labels.
        labels: Of all images.
        mistakes: Places of the mistakes.
        show_progress: Show a progress bar.
    """
    sizes = torch.bincount(torch.tensor(labels))
    typical = int(median(sizes[sizes > 0]))
    # No image is its own neighbour.
    neighbors = min(_NEIGHBORS, typical - 1)
    if neighbors < _FEWEST:
        return LabelDoubts(
            refused=f"Half of the classes have {typical} images or fewer: too few for their labels to be compared with "
            f"those of similar images, which takes more than {_FEWEST} of each."
        )
    try:
        found = label_doubts(model, batches, neighbors=neighbors, show_progress=show_progress)
    except (ModelError, InputError) as error:
        return LabelDoubts(neighbors, refused=f"Model and similar images could not be asked: {error}")
    columns = (
        found.doubt,
        found.confidence,
        found.support,
        found.suggested,
        found.suggested_confidence,
        found.suggested_support,
        found.likely_wrong,
    )
    rows = zip(*(column[list(mistakes)].tolist() for column in columns), strict=True)
    return LabelDoubts(neighbors, of_mistakes=tuple(MistakeDoubt(*row) for row in rows))
