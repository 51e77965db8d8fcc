"""Whether labels are those of the model's classes: what can be known before a pass, and what its accuracy says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from captum_paramsal.errors import SourceError
from captum_paramsal.sources import ImageSource

_FEWEST_OUTPUTS = 2
"""Classes of a model with one output, whose score is that of the second of two classes."""


def require_labels(outputs: int, positions: Iterable[int], images: ImageSource) -> None:
    """Refuse labels that are none of the model's classes.

    Args:
        outputs: Class scores of the model.
        positions: Of the images that are asked about.
        images: Where they are from.

    Raises:
        SourceError: A label outside of the classes; or folders that were numbered in alphabetical order, and are not as
            many as classes.
    """
    classes = max(outputs, _FEWEST_OUTPUTS)
    counted = int(getattr(images, "counted", 0))
    if counted and counted != classes:
        message = (
            f"Expected a folder for each of the {classes} classes of the model, got {counted} folders, which do not "
            "tell which of the classes they are. Name all classes in the order of the model's outputs with "
            "`--classes FILE.json`, call the folders by class numbers, or give a table with `--labels`."
        )
        raise SourceError(message)
    items = (images.items[position] for position in positions)
    outside = [item for item in items if not 0 <= item.label < classes]
    if outside:
        message = (
            f"Expected labels from 0 to {classes - 1}, the classes of the model, "
            f"got {outside[0].label} for '{outside[0].name}'."
        )
        raise SourceError(message)


def label_caveats(labels: Sequence[int], predicted: Sequence[int]) -> tuple[str, ...]:
    """A caveat where a model is right no more often than labels and predictions that know nothing of each other.

    Args:
        labels: Class of each image.
        predicted: What the model took it for.

    >>> label_caveats([0, 0, 1, 1], [0, 0, 1, 0])
    ()
    >>> print(*label_caveats([0, 0, 1, 1], [1, 1, 0, 1]))
    Accuracy 25.0 % is no better than chance (50.0 %): check labels and classes, such as their order, before all else.
    """
    count = len(labels)
    if not count:
        return ()
    truth, given = torch.tensor(labels), torch.tensor(predicted)
    classes = int(max(truth.max(), given.max())) + 1
    shares = [torch.bincount(numbers, minlength=classes).double() / count for numbers in (truth, given)]
    # Of one label alone chance and accuracy are the same number, whatever the model is worth.
    chance = float(shares[0] @ shares[1]) if len({*labels}) > 1 else 0.0
    accuracy = float((truth == given).double().mean())
    if accuracy > chance:
        return ()
    return (
        f"Accuracy {accuracy:.1%} is no better than chance ({chance:.1%}): check labels and classes, such as their "
        "order, before all else.".replace("%", " %"),
    )
