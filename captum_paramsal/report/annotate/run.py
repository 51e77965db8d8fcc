"""From labelled images to a folder of those whose objects are worth marking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import nn

from captum_paramsal.errors import ParamsalError, SourceError
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.report.annotate.data import Among, PictureOrder, chosen_images
from captum_paramsal.report.annotate.report import AnnotationTask
from captum_paramsal.report.shared.predictions import caveats_of, on_device, predict, require_classes
from captum_paramsal.report.shared.report import About
from captum_paramsal.sources import ShownSource


@dataclass(frozen=True)
class AnnotationSettings:
    """Which pictures to choose.

    Attributes:
        per_class: Of each class, at most; 20 in the paper.
        among: Of all images ("all"), of those that the model gets right ("correct"), or of the others ("mistakes").
        order: The least confident ones first, as in the paper, or at random ("random").
        seed: Of the random order.
        batch_size: Images at once.
        device: Where to compute; where the model is, if None.
        show_progress: Show a progress bar.
    """

    per_class: int = 20
    among: Among = "all"
    order: PictureOrder = "least-confident"
    seed: int = 0
    batch_size: int = 32
    device: str | torch.device | None = None
    show_progress: bool = True

    def __post_init__(self) -> None:
        for name in ("per_class", "batch_size"):
            if getattr(self, name) < 1:
                message = f"Expected `{name}` to be at least 1, got {getattr(self, name)}."
                raise ParamsalError(message)
        if self.among not in get_args(Among):
            message = f'Expected `among` to be "all", "correct" or "mistakes", got {self.among!r}.'
            raise ParamsalError(message)
        if self.order not in get_args(PictureOrder):
            message = f'Expected `order` to be "least-confident" or "random", got {self.order!r}.'
            raise ParamsalError(message)


def annotate(
    model: nn.Module,
    images: ShownSource,
    *,
    settings: AnnotationSettings | None = None,
    classes: Mapping[int, str] | None = None,
    about: About | None = None,
    output: Output | None = None,
) -> AnnotationTask:
    """Choose the pictures whose objects are worth marking for a treatment: the least confident of each class.

    Confidence is the softmax probability of the true class, so that most mistakes come first. Labels that are wrong are
    among them: look at each picture's class while drawing.

    Args:
        model: A classifier, left as it was.
        images: Labelled images, those to train on.
        settings: How many of each class, and of which images.
        classes: Names of the classes.
        about: What the model is called on the page.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Returns:
        The choice; its ``write`` makes a folder to draw in, which :class:`~captum_paramsal.sources.Annotations` reads.

    Raises:
        SourceError: A label that is no class of the model, no image to choose, or a chosen image whose name another
            one has.
        ParamsalError: A model and images that do not go together.
    """
    model = scored_model(model, output)
    settings = settings or AnnotationSettings()
    size, shown = settings.batch_size, settings.show_progress
    with on_device(model, settings.device) as device:
        require_classes(model, images, device=device)
        predictions = predict(model, images, batch_size=size, device=device, show_progress=shown)
    chosen = chosen_images(predictions, settings.per_class, settings.among, settings.order, settings.seed)
    if not chosen:
        message = f"Expected images to choose from, got {len(predictions)}, none of which is {settings.among}."
        raise SourceError(message)
    _require_names([images.items[prediction.position].name for prediction in chosen], images)
    labels = {prediction.label for prediction in chosen}
    occurring = labels | {prediction.predicted for prediction in chosen}
    return AnnotationTask(
        chosen=tuple(chosen),
        images=len(predictions),
        classes={number: name for number, name in (classes or {}).items() if number in occurring},
        skipped=tuple(images.skipped),
        caveats=caveats_of(predictions),
        context={
            "model": (about or About()).model or type(model).__name__,
            "images": len(predictions),
            "classes": len(labels),
            "per_class": settings.per_class,
            "among": settings.among,
            "order": settings.order,
        },
        source=images,
    )


def _require_names(chosen: Sequence[str], images: ShownSource) -> None:
    """What was drawn comes back by the name of its image."""
    counts = Counter(item.name for item in images.items)
    shared = [name for name in chosen if counts[name] > 1]
    if shared:
        message = (
            f"Expected a name of its own for every image, got {counts[shared[0]]} that are called {shared[0]!r}. What "
            "is drawn on a picture comes back by its name."
        )
        raise SourceError(message)
